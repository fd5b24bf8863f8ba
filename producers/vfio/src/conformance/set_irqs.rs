//! What is wrong with a `SET_IRQS` whatever the index does.
//!
//! Asked of REQ, which every PCI device has.

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSetFlags;
use irqbroker_vfio_abi::IrqSetHeader;

use super::bench::Answer;
use super::bench::BOOL;
use super::bench::EINVAL;
use super::bench::ENOTTY;
use super::bench::EVENTFD;
use super::bench::MASK;
use super::bench::NONE;
use super::bench::Probe;
use super::bench::TRIGGER;
use super::bench::UNMASK;
use super::bench::Verdict;
use super::msi;
use crate::raw::Request;

const REQ: IrqIndex = IrqIndex::REQ;

/// A request to fire REQ, legal but for that nothing is bound.
const HEADER: IrqSetHeader = IrqSetHeader {
    argsz: 20,
    flags: NONE.union(TRIGGER),
    index: REQ,
    start: 0,
    count: 1,
};

pub(super) fn short_memory_faults(probe: &Probe<'_>) -> Verdict {
    let efault = Answer::Refused(Errno::EFAULT);
    probe.ask("19 bytes", Request::SetIrqs, &mut [0; 19], efault)
}

pub(super) fn argsz_below_the_header_is_refused(probe: &Probe<'_>) -> Verdict {
    let header = IrqSetHeader {
        argsz: 19,
        ..HEADER
    };
    probe.raw_set("argsz 19", header, &[], EINVAL)
}

pub(super) fn index_beyond_the_last_is_refused(probe: &Probe<'_>) -> Verdict {
    let info = probe.shape.info.as_ref();
    for index in [info.map_or(0, |info| info.num_irqs), u32::MAX] {
        let index = IrqIndex(index);
        probe.raw_set(
            "index beyond the last",
            IrqSetHeader { index, ..HEADER },
            &[],
            EINVAL,
        )?;
    }
    Ok(())
}

pub(super) fn unknown_flag_is_refused(probe: &Probe<'_>) -> Verdict {
    for bit in [6, 31] {
        let flags = HEADER.flags | IrqSetFlags::from_bits_retain(1 << bit);
        probe.raw_set(
            "unknown flag",
            IrqSetHeader { flags, ..HEADER },
            &[],
            EINVAL,
        )?;
    }
    Ok(())
}

pub(super) fn range_that_overflows_is_refused(probe: &Probe<'_>) -> Verdict {
    for (start, count) in [(0, u32::MAX), (1, u32::MAX), (u32::MAX, 1), (u32::MAX, 0)] {
        let header = IrqSetHeader {
            start,
            count,
            ..HEADER
        };
        probe.raw_set("range that overflows", header, &[], EINVAL)?;
    }
    Ok(())
}

pub(super) fn start_at_the_count_is_refused(probe: &Probe<'_>) -> Verdict {
    for count in [0, 1] {
        let header = IrqSetHeader {
            start: 1,
            count,
            ..HEADER
        };
        probe.raw_set("start at the count", header, &[], EINVAL)?;
    }
    Ok(())
}

pub(super) fn range_beyond_the_count_is_refused(probe: &Probe<'_>) -> Verdict {
    probe.raw_set(
        "two of one",
        IrqSetHeader { count: 2, ..HEADER },
        &[],
        EINVAL,
    )
}

pub(super) fn no_data_type_is_refused(probe: &Probe<'_>) -> Verdict {
    let header = IrqSetHeader {
        flags: TRIGGER,
        ..HEADER
    };
    probe.raw_set("no data type", header, &[], EINVAL)
}

pub(super) fn two_data_types_are_refused(probe: &Probe<'_>) -> Verdict {
    for flags in [NONE | BOOL, NONE | EVENTFD, BOOL | EVENTFD] {
        let (start, count) = (0, 1);
        let payload = [0; 4];
        let what = "two data types";
        probe.set(what, flags | TRIGGER, REQ, (start, count), &payload, EINVAL)?;
    }
    Ok(())
}

pub(super) fn payload_beyond_argsz_is_refused(probe: &Probe<'_>) -> Verdict {
    let eventfd = EVENTFD | TRIGGER;
    probe.set("fd of 3 bytes", eventfd, REQ, (0, 1), &[0; 3], EINVAL)?;
    probe.set("bool of no byte", BOOL | TRIGGER, REQ, (0, 1), &[], EINVAL)
}

/// More in `argsz` than the payload takes is not read.
pub(super) fn payload_shorter_than_argsz_is_accepted(probe: &Probe<'_>) -> Verdict {
    let index = msi::index(probe);
    let event = probe.event();
    let mut payload = probe.number(event).to_ne_bytes().to_vec();
    payload.extend([0xff; 64]);
    let flags = EVENTFD | TRIGGER;
    probe.set(
        "64 bytes more",
        flags,
        index,
        (0, 1),
        &payload,
        Answer::Done,
    )?;
    probe.fire("fire", index, (0, 1))?;
    probe.signalled("event", event, 1)
}

pub(super) fn absent_index_refuses_even_no_sub_index(probe: &Probe<'_>) -> Verdict {
    for index in [IrqIndex::INTX, IrqIndex::MSI, IrqIndex::MSIX] {
        if probe.shape.count(index) == 0 {
            probe.disable(index, EINVAL)?;
        }
    }
    Ok(())
}

/// Wrong in range and action: the range is looked at first.
pub(super) fn validation_comes_before_the_action(probe: &Probe<'_>) -> Verdict {
    let header = IrqSetHeader {
        flags: NONE,
        count: 2,
        ..HEADER
    };
    probe.raw_set("no action, range too long", header, &[], EINVAL)
}

pub(super) fn no_action_is_no_request(probe: &Probe<'_>) -> Verdict {
    let header = IrqSetHeader {
        flags: NONE,
        ..HEADER
    };
    probe.raw_set("no action", header, &[], ENOTTY)
}

pub(super) fn two_actions_are_no_request(probe: &Probe<'_>) -> Verdict {
    for actions in [MASK | UNMASK, MASK | TRIGGER, UNMASK | TRIGGER] {
        let flags = NONE | actions;
        probe.raw_set("two actions", IrqSetHeader { flags, ..HEADER }, &[], ENOTTY)?;
    }
    Ok(())
}
