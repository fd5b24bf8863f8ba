//! MSI and MSI-X.

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::VectorGrowth;

use super::bench::Answer;
use super::bench::BOOL;
use super::bench::EBADF;
use super::bench::EINVAL;
use super::bench::ENOTTY;
use super::bench::EVENTFD;
use super::bench::Event;
use super::bench::MASK;
use super::bench::NONE;
use super::bench::Probe;
use super::bench::TRIGGER;
use super::bench::UNMASK;
use super::bench::Verdict;

const MSI: IrqIndex = IrqIndex::MSI;
const MSIX: IrqIndex = IrqIndex::MSIX;

/// MSI-X if the device has it, else MSI.
pub(super) fn index(probe: &Probe<'_>) -> IrqIndex {
    match probe.shape.count(MSIX) {
        0 => MSI,
        _ => MSIX,
    }
}

/// Enables the index with new eventfds on its first vectors.
fn enabled<const N: usize>(
    probe: &Probe<'_>,
    index: IrqIndex,
) -> Result<[Event; N], super::bench::Mismatch> {
    let events = [(); N].map(|()| probe.event());
    let numbers = events.map(|event| probe.number(event));
    probe.bind("enable", index, 0, &numbers, Answer::Done)?;
    Ok(events)
}

pub(super) fn masking_is_no_action(probe: &Probe<'_>) -> Verdict {
    let index = index(probe);
    let [_event] = enabled(probe, index)?;
    for action in [MASK, UNMASK] {
        probe.set("mask or unmask", NONE | action, index, (0, 1), &[], ENOTTY)?;
    }
    Ok(())
}

pub(super) fn bind_and_fire_signals_each(probe: &Probe<'_>) -> Verdict {
    let index = index(probe);
    let [event] = enabled(probe, index)?;
    probe.fire("fire", index, (0, 1))?;
    probe.fire("fire again", index, (0, 1))?;
    probe.signalled("event", event, 2)
}

/// Any byte but 0 is yes.
pub(super) fn fire_with_bools_signals_where_not_zero(probe: &Probe<'_>) -> Verdict {
    let [a, b, c] = enabled(probe, MSIX)?;
    let flags = BOOL | TRIGGER;
    probe.set(
        "fire 1, 0, 0xff",
        flags,
        MSIX,
        (0, 3),
        &[1, 0, 0xff],
        Answer::Done,
    )?;
    probe.signalled("first", a, 1)?;
    probe.signalled("second", b, 0)?;
    probe.signalled("third", c, 1)
}

pub(super) fn fire_of_an_unbound_vector_is_skipped(probe: &Probe<'_>) -> Verdict {
    let event = probe.event();
    let fds = [probe.number(event), -1];
    probe.bind("enable with a hole", MSIX, 0, &fds, Answer::Done)?;
    probe.fire("fire both", MSIX, (0, 2))?;
    probe.signalled("event", event, 1)
}

pub(super) fn fire_of_an_idle_index_is_refused(probe: &Probe<'_>) -> Verdict {
    probe.set("fire", NONE | TRIGGER, index(probe), (0, 1), &[], EINVAL)
}

pub(super) fn disable_of_an_idle_index_is_refused(probe: &Probe<'_>) -> Verdict {
    probe.disable(index(probe), EINVAL)
}

pub(super) fn disable_unbinds_all(probe: &Probe<'_>) -> Verdict {
    let index = index(probe);
    let [event] = enabled(probe, index)?;
    probe.disable(index, Answer::Done)?;
    probe.set("fire", NONE | TRIGGER, index, (0, 1), &[], EINVAL)?;
    probe.signalled("event", event, 0)
}

pub(super) fn index_that_is_not_the_active_one_is_refused(probe: &Probe<'_>) -> Verdict {
    let [_event] = enabled(probe, MSIX)?;
    let event = probe.event();
    probe.bind("msi beside msi-x", MSI, 0, &[probe.number(event)], EINVAL)
}

pub(super) fn disable_of_another_index_leaves_the_active_one(probe: &Probe<'_>) -> Verdict {
    let [event] = enabled(probe, MSIX)?;
    probe.disable(MSI, EINVAL)?;
    probe.fire("fire", MSIX, (0, 1))?;
    probe.signalled("event", event, 1)
}

pub(super) fn enabling_with_no_vector_is_out_of_range(probe: &Probe<'_>) -> Verdict {
    let erange = Answer::Refused(Errno::ERANGE);
    probe.set(
        "enable with none",
        EVENTFD | TRIGGER,
        index(probe),
        (0, 0),
        &[],
        erange,
    )
}

/// How to have room for vectors that are bound later.
pub(super) fn enabling_with_holes_only_is_accepted(probe: &Probe<'_>) -> Verdict {
    let index = index(probe);
    probe.bind("enable with a hole", index, 0, &[-1], Answer::Done)?;
    probe.fire("fire", index, (0, 1))?;
    probe.disable(index, Answer::Done)
}

pub(super) fn rebind_moves_the_interrupt(probe: &Probe<'_>) -> Verdict {
    let index = index(probe);
    let [old] = enabled(probe, index)?;
    let new = probe.event();
    probe.bind("rebind", index, 0, &[probe.number(new)], Answer::Done)?;
    probe.fire("fire", index, (0, 1))?;
    probe.signalled("old event", old, 0)?;
    probe.signalled("new event", new, 1)
}

/// A duplicate is the same eventfd.
pub(super) fn eventfd_identity_is_not_the_number(probe: &Probe<'_>) -> Verdict {
    let index = index(probe);
    let event = probe.event();
    let duplicate = probe.duplicate(event);
    probe.bind(
        "bind a duplicate",
        index,
        0,
        &[probe.number(duplicate)],
        Answer::Done,
    )?;
    probe.fire("fire", index, (0, 1))?;
    probe.signalled("event", event, 1)
}

/// The context is held, not the fd.
pub(super) fn eventfd_closed_after_bind_stays_bound(probe: &Probe<'_>) -> Verdict {
    let index = index(probe);
    let event = probe.event();
    let duplicate = probe.duplicate(event);
    probe.bind(
        "bind a duplicate",
        index,
        0,
        &[probe.number(duplicate)],
        Answer::Done,
    )?;
    probe.close(duplicate);
    probe.fire("fire", index, (0, 1))?;
    probe.signalled("event", event, 1)
}

pub(super) fn closed_fd_is_refused(probe: &Probe<'_>) -> Verdict {
    probe.bind("closed fd", index(probe), 0, &[probe.closed_fd()], EBADF)
}

pub(super) fn file_that_is_no_eventfd_is_refused(probe: &Probe<'_>) -> Verdict {
    probe.bind("/dev/null", index(probe), 0, &[probe.other_file()], EINVAL)
}

pub(super) fn minus_one_unbinds_one_vector(probe: &Probe<'_>) -> Verdict {
    let [a, b] = enabled(probe, MSIX)?;
    probe.bind("unbind the first", MSIX, 0, &[-1], Answer::Done)?;
    probe.fire("fire both", MSIX, (0, 2))?;
    probe.signalled("first", a, 0)?;
    probe.signalled("second", b, 1)
}

pub(super) fn any_negative_fd_unbinds(probe: &Probe<'_>) -> Verdict {
    let index = index(probe);
    let [event] = enabled(probe, index)?;
    probe.bind("fd -7", index, 0, &[-7], Answer::Done)?;
    probe.fire("fire", index, (0, 1))?;
    probe.signalled("event", event, 0)
}

/// The old eventfd is taken away before the new one is looked at.
pub(super) fn refused_rebind_leaves_the_vector_unbound(probe: &Probe<'_>) -> Verdict {
    let index = index(probe);
    let [event] = enabled(probe, index)?;
    probe.bind("closed fd", index, 0, &[probe.closed_fd()], EBADF)?;
    probe.fire("fire", index, (0, 1))?;
    probe.signalled("event", event, 0)
}

pub(super) fn failing_block_unbinds_from_its_start_only(probe: &Probe<'_>) -> Verdict {
    let [before, first, failing, behind] = enabled(probe, MSIX)?;
    let new = probe.event();
    let fds = [probe.number(new), probe.closed_fd()];
    probe.bind("second of a block is closed", MSIX, 1, &fds, EBADF)?;
    probe.fire("fire all", MSIX, (0, 4))?;
    probe.signalled("before the block", before, 1)?;
    probe.signalled("first of the block, old", first, 0)?;
    probe.signalled("first of the block, new", new, 0)?;
    probe.signalled("the one that failed", failing, 0)?;
    probe.signalled("behind the block", behind, 1)
}

pub(super) fn failing_enable_disables_the_index(probe: &Probe<'_>) -> Verdict {
    let event = probe.event();
    let fds = [probe.number(event), probe.closed_fd()];
    probe.bind("second is closed", MSIX, 0, &fds, EBADF)?;
    fire_of_an_idle_index_is_refused(probe)
}

pub(super) fn vector_beyond_the_enabled_ones_is_bound_where_dynamic(probe: &Probe<'_>) -> Verdict {
    let [_first] = enabled(probe, MSIX)?;
    let third = probe.event();
    if probe.growth(MSIX) != VectorGrowth::OnDemand {
        return probe.bind("third of one", MSIX, 2, &[probe.number(third)], EINVAL);
    }
    probe.bind(
        "third of one",
        MSIX,
        2,
        &[probe.number(third)],
        Answer::Done,
    )?;
    probe.fire("fire", MSIX, (2, 1))?;
    probe.signalled("third", third, 1)
}

pub(super) fn fire_beyond_the_enabled_vectors_is_skipped_or_refused(probe: &Probe<'_>) -> Verdict {
    let [first] = enabled(probe, MSIX)?;
    let (expected, signals) = match probe.growth(MSIX) {
        VectorGrowth::RequestRefused => (EINVAL, 0),
        VectorGrowth::BindRefused | VectorGrowth::OnDemand => (Answer::Done, 1),
    };
    probe.set(
        "fire three of one",
        NONE | TRIGGER,
        MSIX,
        (0, 3),
        &[],
        expected,
    )?;
    probe.signalled("first", first, signals)
}
