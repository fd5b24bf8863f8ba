//! Rules of pins: edge, level and resample.
#![expect(
    clippy::unwrap_used,
    reason = "bodies of tests: a refusal is the failure"
)]

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use irqbroker_core::Committed;
use irqbroker_core::Trigger;

use super::irqfd::GSI;
use super::irqfd::VECTOR;
use super::irqfd::delivered;
use super::irqfd::entry;
use super::irqfd::signal;
use super::irqfd::take;
use super::rig::Rig;
use super::rig::RigPin;
use crate::domain::VmDomain;
use crate::embedder::EmbedderRoutes;
use crate::message::DestinationIds;
use crate::route::RouteEntry;
use crate::vm_irq::LineLevel;

/// The table a PC's VM starts with.
fn route_pins(rig: &dyn Rig) {
    let table: Vec<RouteEntry> = EmbedderRoutes::pc_pins().entries().collect();
    rig.vm().commit_routes(&table).unwrap();
}

/// A trigger and a resample event, bound to the pin.
fn bind_level(rig: &dyn Rig, pin: RigPin) -> (OwnedFd, OwnedFd) {
    let (trigger, resample) = (rig.eventfd(), rig.eventfd());
    rig.vm()
        .assign_resample_irqfd(trigger.as_fd(), resample.as_fd(), pin.gsi)
        .unwrap();
    (trigger, resample)
}

/// A plain irqfd on a pin raises and lowers the line: one edge for each event.
pub(super) fn edge_irqfd_pulses_the_pin(rig: &dyn Rig) {
    route_pins(rig);
    let pin = rig.pin(Trigger::Edge);
    let event = rig.eventfd();
    rig.vm().assign_irqfd(event.as_fd(), pin.gsi).unwrap();
    signal(&event, 1);
    assert_eq!(delivered(rig, pin.vector), 1);
    signal(&event, 1);
    assert_eq!(delivered(rig, pin.vector), 2);
}

/// A table of messages only kills the pins: whoever writes the table must have them in it.
pub(super) fn pin_is_dead_after_a_table_without_it(rig: &dyn Rig) {
    route_pins(rig);
    let pin = rig.pin(Trigger::Edge);
    let event = rig.eventfd();
    rig.vm().assign_irqfd(event.as_fd(), pin.gsi).unwrap();
    rig.vm().commit_routes(&[entry(rig, GSI, VECTOR)]).unwrap();
    signal(&event, 1);
    assert_eq!(delivered(rig, pin.vector), 0);
}

/// A commit of messages by a [`VmDomain`] leaves the embedder's pins alive.
pub(super) fn pin_interrupts_after_a_message_commit(rig: &dyn Rig) {
    let pins = EmbedderRoutes::pc_pins();
    let domain = VmDomain::new(rig.vm(), pins, DestinationIds::Bits8).unwrap();
    let pin = rig.pin(Trigger::Edge);
    let (line, event) = (rig.eventfd(), rig.eventfd());
    rig.vm().assign_irqfd(line.as_fd(), pin.gsi).unwrap();
    let lease = domain.lease(rig.message(VECTOR), None).unwrap();
    assert_eq!(domain.commit_routes().unwrap(), Committed::Written(41));
    rig.vm().assign_irqfd(event.as_fd(), lease.gsi()).unwrap();
    signal(&line, 1);
    signal(&event, 1);
    assert_eq!(delivered(rig, pin.vector), 1);
    assert_eq!(delivered(rig, VECTOR), 1);
}

/// `KVM_IRQ_LINE` drives the same line.
pub(super) fn line_reaches_the_pin(rig: &dyn Rig) {
    route_pins(rig);
    let pin = rig.pin(Trigger::Edge);
    for n in 1..=2 {
        rig.vm().set_line(pin.gsi, LineLevel::High).unwrap();
        rig.vm().set_line(pin.gsi, LineLevel::Low).unwrap();
        assert_eq!(delivered(rig, pin.vector), n);
    }
}

/// Several resample irqfds and a plain one can be bound to one GSI, and two of them to one
/// resample event.
pub(super) fn resample_irqfds_and_a_plain_one_share_a_gsi(rig: &dyn Rig) {
    route_pins(rig);
    let pin = rig.pin(Trigger::Level);
    let (_first, resample) = bind_level(rig, pin);
    let _second = bind_level(rig, pin);
    let (third, plain) = (rig.eventfd(), rig.eventfd());
    let vm = rig.vm();
    vm.assign_resample_irqfd(third.as_fd(), resample.as_fd(), pin.gsi)
        .unwrap();
    vm.assign_irqfd(plain.as_fd(), pin.gsi).unwrap();
}

/// An event of a resample irqfd interrupts once; the EOI lowers the line and adds one to the
/// resample event; the next event interrupts again.
pub(super) fn eoi_signals_resample_and_lowers_the_line(rig: &dyn Rig) {
    route_pins(rig);
    let pin = rig.pin(Trigger::Level);
    let (trigger, resample) = bind_level(rig, pin);
    for n in 1..=2 {
        signal(&trigger, 1);
        assert_eq!(delivered(rig, pin.vector), n);
        rig.eoi(pin);
        assert_eq!(take(&resample), 1);
        assert_eq!(delivered(rig, pin.vector), n);
    }
}

/// One EOI adds one to every resample event of the GSI, whoever triggered.
pub(super) fn eoi_signals_every_resample_event_once(rig: &dyn Rig) {
    route_pins(rig);
    let pin = rig.pin(Trigger::Level);
    let (trigger, first) = bind_level(rig, pin);
    let (_idle, second) = bind_level(rig, pin);
    signal(&trigger, 1);
    assert_eq!(delivered(rig, pin.vector), 1);
    rig.eoi(pin);
    assert_eq!(take(&first), 1);
    assert_eq!(take(&second), 1);
}

/// Until the EOI the line stays asserted: more events are the same interrupt.
pub(super) fn line_stays_asserted_until_eoi(rig: &dyn Rig) {
    route_pins(rig);
    let pin = rig.pin(Trigger::Level);
    let (trigger, resample) = bind_level(rig, pin);
    signal(&trigger, 1);
    assert_eq!(delivered(rig, pin.vector), 1);
    signal(&trigger, 1);
    assert_eq!(delivered(rig, pin.vector), 1);
    assert_eq!(take(&resample), 0);
    rig.eoi(pin);
    assert_eq!(take(&resample), 1);
    assert_eq!(delivered(rig, pin.vector), 1);
}

/// Unbinding the last resample irqfd lowers the line, and its resample event hears of no EOI.
pub(super) fn last_resample_deassign_lowers_the_line(rig: &dyn Rig) {
    route_pins(rig);
    let pin = rig.pin(Trigger::Level);
    let (trigger, resample) = bind_level(rig, pin);
    signal(&trigger, 1);
    assert_eq!(delivered(rig, pin.vector), 1);
    rig.vm().deassign_irqfd(trigger.as_fd(), pin.gsi).unwrap();
    rig.eoi(pin);
    assert_eq!(take(&resample), 0);
    assert_eq!(delivered(rig, pin.vector), 1);
}

/// While another resample irqfd is bound, unbinding one keeps the line, and the EOI is reported.
pub(super) fn other_resample_irqfd_keeps_the_line(rig: &dyn Rig) {
    route_pins(rig);
    let pin = rig.pin(Trigger::Level);
    let (trigger, _) = bind_level(rig, pin);
    let (_other, resample) = bind_level(rig, pin);
    signal(&trigger, 1);
    assert_eq!(delivered(rig, pin.vector), 1);
    rig.vm().deassign_irqfd(trigger.as_fd(), pin.gsi).unwrap();
    rig.eoi(pin);
    assert_eq!(take(&resample), 1);
}
