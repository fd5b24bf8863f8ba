//! INTx, and the eventfd that unmasks it.

use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSetFlags;

use super::bench::Answer;
use super::bench::BOOL;
use super::bench::EBADF;
use super::bench::EBUSY;
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

const INTX: IrqIndex = IrqIndex::INTX;

fn enabled(probe: &Probe<'_>) -> Result<Event, Mismatch> {
    let event = probe.event();
    probe.bind("enable", INTX, 0, &[probe.number(event)], Answer::Done)?;
    Ok(event)
}

fn set(
    probe: &Probe<'_>,
    what: &'static str,
    flags: IrqSetFlags,
    payload: &[u8],
    expected: Answer,
) -> Verdict {
    probe.set(what, flags, INTX, (0, 1), payload, expected)
}

fn unmask_by(probe: &Probe<'_>, what: &'static str, fd: i32, expected: Answer) -> Verdict {
    set(probe, what, EVENTFD | UNMASK, &fd.to_ne_bytes(), expected)
}

fn messages(probe: &Probe<'_>, what: &'static str, expected: Answer) -> Verdict {
    let event = probe.event();
    probe.bind(what, msi::index(probe), 0, &[probe.number(event)], expected)
}

pub(super) fn masking_by_eventfd_is_no_action(probe: &Probe<'_>) -> Verdict {
    enabled(probe)?;
    let event = probe.event();
    let fd = probe.number(event).to_ne_bytes();
    set(probe, "mask by eventfd", EVENTFD | MASK, &fd, ENOTTY)
}

pub(super) fn bind_and_fire_signals(probe: &Probe<'_>) -> Verdict {
    let event = enabled(probe)?;
    probe.fire("fire", INTX, (0, 1))?;
    set(
        probe,
        "fire with a byte",
        BOOL | TRIGGER,
        &[1],
        Answer::Done,
    )?;
    probe.signalled("event", event, 2)
}

pub(super) fn fire_with_bool_zero_does_nothing(probe: &Probe<'_>) -> Verdict {
    let event = enabled(probe)?;
    set(probe, "fire with 0", BOOL | TRIGGER, &[0], Answer::Done)?;
    probe.signalled("event", event, 0)
}

pub(super) fn fire_of_an_idle_index_is_refused(probe: &Probe<'_>) -> Verdict {
    set(probe, "fire", NONE | TRIGGER, &[], EINVAL)
}

pub(super) fn disable_of_an_idle_index_is_refused(probe: &Probe<'_>) -> Verdict {
    probe.disable(INTX, EINVAL)
}

pub(super) fn no_sub_index_by_eventfd_is_refused(probe: &Probe<'_>) -> Verdict {
    probe.set("no eventfd", EVENTFD | TRIGGER, INTX, (0, 0), &[], EINVAL)
}

pub(super) fn binding_while_messages_are_active_is_refused(probe: &Probe<'_>) -> Verdict {
    messages(probe, "enable messages", Answer::Done)?;
    let event = probe.event();
    probe.bind("intx beside them", INTX, 0, &[probe.number(event)], EINVAL)?;
    set(probe, "mask beside them", NONE | MASK, &[], EINVAL)
}

pub(super) fn messages_while_intx_is_active_are_refused(probe: &Probe<'_>) -> Verdict {
    enabled(probe)?;
    messages(probe, "messages beside intx", EINVAL)
}

pub(super) fn minus_one_enables_without_a_trigger(probe: &Probe<'_>) -> Verdict {
    probe.bind("enable with a hole", INTX, 0, &[-1], Answer::Done)?;
    messages(probe, "messages beside intx", EINVAL)
}

pub(super) fn minus_one_leaves_the_index_enabled(probe: &Probe<'_>) -> Verdict {
    enabled(probe)?;
    probe.bind("unbind", INTX, 0, &[-1], Answer::Done)?;
    messages(probe, "messages beside intx", EINVAL)
}

pub(super) fn disable_frees_the_index(probe: &Probe<'_>) -> Verdict {
    enabled(probe)?;
    probe.disable(INTX, Answer::Done)?;
    messages(probe, "messages after intx", Answer::Done)
}

pub(super) fn closed_fd_does_not_enable(probe: &Probe<'_>) -> Verdict {
    probe.bind("closed fd", INTX, 0, &[probe.closed_fd()], EBADF)?;
    probe.bind("/dev/null", INTX, 0, &[probe.other_file()], EINVAL)?;
    messages(probe, "messages after that", Answer::Done)
}

pub(super) fn refused_fd_leaves_the_old_one_where_persistent(probe: &Probe<'_>) -> Verdict {
    let event = enabled(probe)?;
    probe.bind("closed fd", INTX, 0, &[probe.closed_fd()], EBADF)?;
    if !probe.profile.persistent_intx {
        // Firing what has no eventfd crashes such a kernel (CVE-2024-26812).
        return Ok(());
    }
    probe.fire("fire", INTX, (0, 1))?;
    probe.signalled("event", event, 1)
}

pub(super) fn masking_an_idle_index_is_refused(probe: &Probe<'_>) -> Verdict {
    set(probe, "mask", NONE | MASK, &[], EINVAL)?;
    set(probe, "unmask", NONE | UNMASK, &[], EINVAL)
}

pub(super) fn mask_and_unmask_are_accepted(probe: &Probe<'_>) -> Verdict {
    enabled(probe)?;
    set(probe, "mask", NONE | MASK, &[], Answer::Done)?;
    set(probe, "mask again", BOOL | MASK, &[1], Answer::Done)?;
    set(probe, "unmask not", BOOL | UNMASK, &[0], Answer::Done)?;
    set(probe, "unmask", NONE | UNMASK, &[], Answer::Done)
}

pub(super) fn masking_no_sub_index_is_refused(probe: &Probe<'_>) -> Verdict {
    enabled(probe)?;
    for action in [MASK, UNMASK] {
        probe.set("mask nothing", NONE | action, INTX, (0, 0), &[], EINVAL)?;
    }
    Ok(())
}

pub(super) fn second_unmask_event_is_busy(probe: &Probe<'_>) -> Verdict {
    enabled(probe)?;
    let (first, second) = (probe.event(), probe.event());
    unmask_by(probe, "first", probe.number(first), Answer::Done)?;
    unmask_by(probe, "second", probe.number(second), EBUSY)?;
    unmask_by(probe, "first again", probe.number(first), EBUSY)
}

pub(super) fn unmask_event_can_be_removed_and_bound_again(probe: &Probe<'_>) -> Verdict {
    enabled(probe)?;
    let event = probe.number(probe.event());
    unmask_by(probe, "bind", event, Answer::Done)?;
    unmask_by(probe, "remove", -1, Answer::Done)?;
    unmask_by(probe, "remove again", -1, Answer::Done)?;
    unmask_by(probe, "bind again", event, Answer::Done)
}

pub(super) fn unmask_event_that_is_none_is_refused(probe: &Probe<'_>) -> Verdict {
    enabled(probe)?;
    unmask_by(probe, "/dev/null", probe.other_file(), EINVAL)
}

pub(super) fn unmask_event_that_is_closed_is_refused_even_if_busy(probe: &Probe<'_>) -> Verdict {
    enabled(probe)?;
    unmask_by(probe, "closed fd", probe.closed_fd(), EBADF)?;
    unmask_by(probe, "bind", probe.number(probe.event()), Answer::Done)?;
    unmask_by(probe, "closed fd", probe.closed_fd(), EBADF)
}

pub(super) fn unmask_event_goes_with_the_index(probe: &Probe<'_>) -> Verdict {
    enabled(probe)?;
    unmask_by(probe, "bind", probe.number(probe.event()), Answer::Done)?;
    probe.disable(INTX, Answer::Done)?;
    enabled(probe)?;
    unmask_by(
        probe,
        "bind again",
        probe.number(probe.event()),
        Answer::Done,
    )
}

pub(super) fn unmask_event_is_drained_when_signalled(probe: &Probe<'_>) -> Verdict {
    enabled(probe)?;
    let event = probe.event();
    unmask_by(probe, "bind", probe.number(event), Answer::Done)?;
    probe.signal(event);
    // Any request: a simulator acts upon the event no later than now.
    set(probe, "unmask", NONE | UNMASK, &[], Answer::Done)?;
    probe.signalled("unmask event", event, 0)
}
