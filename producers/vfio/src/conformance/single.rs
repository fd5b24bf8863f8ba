//! ERR and REQ, which are one eventfd each and independent of the others.

use irqbroker_vfio_abi::IrqIndex;

use super::bench::Answer;
use super::bench::BOOL;
use super::bench::EBADF;
use super::bench::EINVAL;
use super::bench::ENOTTY;
use super::bench::EVENTFD;
use super::bench::Event;
use super::bench::MASK;
use super::bench::Mismatch;
use super::bench::NONE;
use super::bench::Probe;
use super::bench::TRIGGER;
use super::bench::UNMASK;
use super::bench::Verdict;
use super::msi;

const REQ: IrqIndex = IrqIndex::REQ;

fn bound(probe: &Probe<'_>, index: IrqIndex) -> Result<Event, Mismatch> {
    let event = probe.event();
    probe.bind("bind", index, 0, &[probe.number(event)], Answer::Done)?;
    Ok(event)
}

fn is_bound_fired_and_unbound(probe: &Probe<'_>, index: IrqIndex) -> Verdict {
    let event = bound(probe, index)?;
    probe.fire("fire", index, (0, 1))?;
    let flags = BOOL | TRIGGER;
    probe.set("fire with 0", flags, index, (0, 1), &[0], Answer::Done)?;
    probe.signalled("event", event, 1)?;
    probe.bind("unbind", index, 0, &[-1], Answer::Done)?;
    probe.disable(index, EINVAL)?;
    bound(probe, index)?;
    probe.disable(index, Answer::Done)
}

pub(super) fn masking_req_is_no_action(probe: &Probe<'_>) -> Verdict {
    for action in [MASK, UNMASK] {
        probe.set("mask or unmask", NONE | action, REQ, (0, 1), &[], ENOTTY)?;
    }
    Ok(())
}

pub(super) fn req_is_bound_fired_and_unbound(probe: &Probe<'_>) -> Verdict {
    is_bound_fired_and_unbound(probe, REQ)
}

pub(super) fn err_is_bound_fired_and_unbound(probe: &Probe<'_>) -> Verdict {
    is_bound_fired_and_unbound(probe, IrqIndex::ERR)
}

/// Unlike an MSI vector that has none.
pub(super) fn nothing_bound_refuses_fire_and_disable(probe: &Probe<'_>) -> Verdict {
    probe.set("fire", NONE | TRIGGER, REQ, (0, 1), &[], EINVAL)?;
    probe.disable(REQ, EINVAL)
}

pub(super) fn bools_for_nothing_are_accepted(probe: &Probe<'_>) -> Verdict {
    probe.set("fire", BOOL | TRIGGER, REQ, (0, 1), &[1], Answer::Done)
}

pub(super) fn no_sub_index_with_payload_is_refused(probe: &Probe<'_>) -> Verdict {
    bound(probe, REQ)?;
    for kind in [BOOL, EVENTFD] {
        probe.set("none", kind | TRIGGER, REQ, (0, 0), &[], EINVAL)?;
    }
    Ok(())
}

pub(super) fn more_than_one_sub_index_is_refused(probe: &Probe<'_>) -> Verdict {
    probe.bind("two", REQ, 0, &[-1, -1], EINVAL)
}

pub(super) fn refused_fd_leaves_the_old_one(probe: &Probe<'_>) -> Verdict {
    let event = bound(probe, REQ)?;
    probe.bind("closed fd", REQ, 0, &[probe.closed_fd()], EBADF)?;
    probe.bind("/dev/null", REQ, 0, &[probe.other_file()], EINVAL)?;
    probe.fire("fire", REQ, (0, 1))?;
    probe.signalled("event", event, 1)
}

/// It is ignored, or where kernels are strict refused.
pub(super) fn number_below_minus_one_does_nothing(probe: &Probe<'_>) -> Verdict {
    let event = bound(probe, REQ)?;
    let expected = match probe.profile.strict_single_fds {
        true => EINVAL,
        false => Answer::Done,
    };
    probe.bind("fd -2", REQ, 0, &[-2], expected)?;
    probe.fire("fire", REQ, (0, 1))?;
    probe.signalled("event", event, 1)
}

pub(super) fn independent_of_the_active_index(probe: &Probe<'_>) -> Verdict {
    let index = msi::index(probe);
    let message = bound(probe, index)?;
    let req = bound(probe, REQ)?;
    probe.disable(REQ, Answer::Done)?;
    probe.fire("fire", index, (0, 1))?;
    probe.signalled("message", message, 1)?;
    probe.signalled("req", req, 0)
}
