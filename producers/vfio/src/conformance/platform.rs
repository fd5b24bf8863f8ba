//! Interrupts of vfio-platform, one an index.

use irqbroker_vfio_abi::IrqIndex;

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

fn edge(probe: &Probe<'_>) -> IrqIndex {
    probe.shape.platform_irq(false).unwrap_or(IrqIndex(0))
}

fn level(probe: &Probe<'_>) -> IrqIndex {
    probe.shape.platform_irq(true).unwrap_or(IrqIndex(0))
}

fn bound(probe: &Probe<'_>, index: IrqIndex) -> Result<Event, Mismatch> {
    let event = probe.event();
    probe.bind("bind", index, 0, &[probe.number(event)], Answer::Done)?;
    Ok(event)
}

pub(super) fn edge_is_bound_and_fired(probe: &Probe<'_>) -> Verdict {
    let index = edge(probe);
    let event = bound(probe, index)?;
    probe.fire("fire", index, (0, 1))?;
    probe.fire("fire again", index, (0, 1))?;
    probe.signalled("event", event, 2)
}

/// EINVAL, where vfio-pci has ENOTTY.
pub(super) fn edge_cannot_be_masked(probe: &Probe<'_>) -> Verdict {
    let index = edge(probe);
    let unbind = (-1i32).to_ne_bytes();
    for action in [MASK, UNMASK] {
        probe.set("now", NONE | action, index, (0, 1), &[], EINVAL)?;
        probe.set(
            "by eventfd",
            EVENTFD | action,
            index,
            (0, 1),
            &unbind,
            EINVAL,
        )?;
    }
    Ok(())
}

/// The loopback runs the interrupt handler, which masks.
pub(super) fn level_loopback_masks(probe: &Probe<'_>) -> Verdict {
    let index = level(probe);
    let event = bound(probe, index)?;
    probe.fire("fire", index, (0, 1))?;
    probe.fire("fire while masked", index, (0, 1))?;
    probe.signalled("event", event, 1)?;
    probe.set("unmask", NONE | UNMASK, index, (0, 1), &[], Answer::Done)?;
    probe.fire("fire", index, (0, 1))?;
    probe.signalled("event", event, 1)
}

pub(super) fn level_is_masked_and_unmasked_by_eventfd(probe: &Probe<'_>) -> Verdict {
    let index = level(probe);
    let event = bound(probe, index)?;
    for (action, signals) in [(MASK, 0), (UNMASK, 1)] {
        let by = probe.event();
        let fd = probe.number(by).to_ne_bytes();
        probe.set("bind", EVENTFD | action, index, (0, 1), &fd, Answer::Done)?;
        probe.signal(by);
        let nothing = BOOL | TRIGGER;
        probe.set("settle", nothing, index, (0, 1), &[0], Answer::Done)?;
        probe.fire("fire", index, (0, 1))?;
        probe.signalled("event", event, signals)?;
    }
    Ok(())
}

pub(super) fn level_second_event_is_busy(probe: &Probe<'_>) -> Verdict {
    let index = level(probe);
    bound(probe, index)?;
    for action in [MASK, UNMASK] {
        let first = probe.number(probe.event()).to_ne_bytes();
        let second = probe.number(probe.event()).to_ne_bytes();
        let flags = EVENTFD | action;
        probe.set("first", flags, index, (0, 1), &first, Answer::Done)?;
        probe.set("second", flags, index, (0, 1), &second, EBUSY)?;
    }
    Ok(())
}

pub(super) fn refused_fd_costs_the_old_one(probe: &Probe<'_>) -> Verdict {
    let index = edge(probe);
    let event = bound(probe, index)?;
    probe.bind("closed fd", index, 0, &[probe.closed_fd()], EBADF)?;
    probe.fire("fire", index, (0, 1))?;
    probe.signalled("event", event, 0)
}

pub(super) fn more_than_one_sub_index_is_refused(probe: &Probe<'_>) -> Verdict {
    probe.bind("two", edge(probe), 0, &[-1, -1], EINVAL)
}

/// Unlike on PCI.
pub(super) fn disable_of_an_idle_index_is_accepted(probe: &Probe<'_>) -> Verdict {
    probe.disable(edge(probe), Answer::Done)
}

pub(super) fn no_action_is_no_request(probe: &Probe<'_>) -> Verdict {
    probe.set("no action", NONE, edge(probe), (0, 1), &[], ENOTTY)
}
