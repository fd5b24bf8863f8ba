//! Rules of `KVM_IRQFD` and `KVM_SIGNAL_MSI`.
#![expect(
    clippy::unwrap_used,
    reason = "bodies of tests: a refusal is the failure"
)]

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use irqbroker_core::Gsi;
use irqbroker_core::Vector;

use super::rig::Rig;
use super::rig::VmShape;
use crate::capabilities::IrqchipMode;
use crate::errno::KvmErrno;
use crate::route::MsiRoute;
use crate::route::Route;
use crate::route::RouteEntry;
use crate::vm_irq::MsiDelivery;

/// Free of the pins of a PC.
pub(super) const GSI: Gsi = Gsi(40);

/// Any vector of the range a rig offers.
pub(super) const VECTOR: Vector = Vector(0x51);

pub(super) fn entry(rig: &dyn Rig, gsi: Gsi, vector: Vector) -> RouteEntry {
    let message = rig.message(vector);
    RouteEntry {
        gsi,
        target: Route::Msi(MsiRoute {
            message,
            device: None,
        }),
    }
}

pub(super) fn signal(event: &OwnedFd, count: u64) {
    rustix::io::write(event, &count.to_ne_bytes()).unwrap();
}

/// Takes what stands in the counter, zero included.
pub(super) fn take(event: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    match rustix::io::read(event, &mut count) {
        Ok(_) => u64::from_ne_bytes(count),
        Err(errno) => {
            assert_eq!(errno, rustix::io::Errno::AGAIN);
            0
        }
    }
}

pub(super) fn delivered(rig: &dyn Rig, vector: Vector) -> u64 {
    rig.settle();
    rig.delivered(vector)
}

/// Routes [`GSI`] to [`VECTOR`].
fn route(rig: &dyn Rig) {
    let table = [entry(rig, GSI, VECTOR)];
    rig.vm().commit_routes(&table).unwrap();
}

/// A write to a bound eventfd is delivered, and whoever reads the eventfd then finds nothing.
pub(super) fn write_is_delivered_and_drained(rig: &dyn Rig) {
    route(rig);
    let event = rig.eventfd();
    rig.vm().assign_irqfd(event.as_fd(), GSI).unwrap();
    signal(&event, 1);
    assert_eq!(delivered(rig, VECTOR), 1);
    assert_eq!(take(&event), 0);
    signal(&event, 1);
    assert_eq!(delivered(rig, VECTOR), 2);
}

/// The count is not the number of interrupts.
pub(super) fn write_of_a_thousand_is_one_interrupt(rig: &dyn Rig) {
    route(rig);
    let event = rig.eventfd();
    rig.vm().assign_irqfd(event.as_fd(), GSI).unwrap();
    signal(&event, 1000);
    assert_eq!(delivered(rig, VECTOR), 1);
}

/// A count that stands in the eventfd at assign is injected once and stays in the counter.
pub(super) fn count_at_assign_is_injected_once_and_stays(rig: &dyn Rig) {
    route(rig);
    let event = rig.eventfd();
    signal(&event, 5);
    rig.vm().assign_irqfd(event.as_fd(), GSI).unwrap();
    assert_eq!(delivered(rig, VECTOR), 1);
    assert_eq!(delivered(rig, VECTOR), 1);
    assert_eq!(take(&event), 5);
}

/// What stayed in the counter goes with the next write, as one interrupt.
pub(super) fn count_at_assign_is_swallowed_by_the_next_write(rig: &dyn Rig) {
    route(rig);
    let event = rig.eventfd();
    signal(&event, 5);
    rig.vm().assign_irqfd(event.as_fd(), GSI).unwrap();
    assert_eq!(delivered(rig, VECTOR), 1);
    signal(&event, 1);
    assert_eq!(delivered(rig, VECTOR), 2);
    assert_eq!(take(&event), 0);
}

/// Reading what stayed in the counter takes nothing from the guest, and the next write, even of
/// the same count, is delivered.
pub(super) fn count_read_after_assign_injects_nothing(rig: &dyn Rig) {
    route(rig);
    let event = rig.eventfd();
    signal(&event, 1);
    rig.vm().assign_irqfd(event.as_fd(), GSI).unwrap();
    assert_eq!(delivered(rig, VECTOR), 1);
    assert_eq!(take(&event), 1);
    assert_eq!(delivered(rig, VECTOR), 1);
    signal(&event, 1);
    assert_eq!(delivered(rig, VECTOR), 2);
}

/// Deassign drains the counter, so a second assign injects nothing.
pub(super) fn deassign_drains_the_counter(rig: &dyn Rig) {
    route(rig);
    let event = rig.eventfd();
    signal(&event, 1);
    rig.vm().assign_irqfd(event.as_fd(), GSI).unwrap();
    assert_eq!(delivered(rig, VECTOR), 1);
    rig.vm().deassign_irqfd(event.as_fd(), GSI).unwrap();
    assert_eq!(take(&event), 0);
    rig.vm().assign_irqfd(event.as_fd(), GSI).unwrap();
    assert_eq!(delivered(rig, VECTOR), 1);
}

/// Writes to an unbound eventfd stay in its counter and are one interrupt at assign.
pub(super) fn writes_while_unbound_are_one_interrupt(rig: &dyn Rig) {
    route(rig);
    let event = rig.eventfd();
    rig.vm().assign_irqfd(event.as_fd(), GSI).unwrap();
    rig.vm().deassign_irqfd(event.as_fd(), GSI).unwrap();
    (0..5).for_each(|_| signal(&event, 1));
    assert_eq!(delivered(rig, VECTOR), 0);
    rig.vm().assign_irqfd(event.as_fd(), GSI).unwrap();
    assert_eq!(delivered(rig, VECTOR), 1);
}

/// An eventfd has at most one irqfd in a VM, whatever the GSI.
pub(super) fn eventfd_twice_in_one_vm_is_busy(rig: &dyn Rig) {
    let event = rig.eventfd();
    let vm = rig.vm();
    vm.assign_irqfd(event.as_fd(), GSI).unwrap();
    let duplicate = event.try_clone().unwrap();
    let busy = Err(KvmErrno::BUSY);
    assert_eq!(vm.assign_irqfd(event.as_fd(), GSI), busy);
    assert_eq!(vm.assign_irqfd(duplicate.as_fd(), Gsi(GSI.0 + 1)), busy);
}

/// Since Linux 6.17 an eventfd has at most one irqfd on the host.
pub(super) fn eventfd_in_another_vm_is_busy_where_global(rig: &dyn Rig) {
    let event = rig.eventfd();
    rig.vm().assign_irqfd(event.as_fd(), GSI).unwrap();
    let expected = match rig.profile().global_irqfd {
        true => Err(KvmErrno::BUSY),
        false => Ok(()),
    };
    let other = rig.new_vm(VmShape::PC);
    assert_eq!(other.assign_irqfd(event.as_fd(), GSI), expected);
}

/// After deassign another VM can have the eventfd.
pub(super) fn eventfd_is_free_again_after_deassign(rig: &dyn Rig) {
    let event = rig.eventfd();
    rig.vm().assign_irqfd(event.as_fd(), GSI).unwrap();
    rig.vm().deassign_irqfd(event.as_fd(), GSI).unwrap();
    let other = rig.new_vm(VmShape::PC);
    other.assign_irqfd(event.as_fd(), GSI).unwrap();
}

/// A deassign with the right eventfd and the wrong GSI succeeds, and the irqfd delivers on. So
/// does one of an eventfd that was never bound.
pub(super) fn deassign_with_wrong_gsi_does_nothing(rig: &dyn Rig) {
    route(rig);
    let (event, stranger) = (rig.eventfd(), rig.eventfd());
    let vm = rig.vm();
    vm.assign_irqfd(event.as_fd(), GSI).unwrap();
    assert_eq!(vm.deassign_irqfd(event.as_fd(), Gsi(GSI.0 + 1)), Ok(()));
    assert_eq!(vm.deassign_irqfd(stranger.as_fd(), GSI), Ok(()));
    signal(&event, 1);
    assert_eq!(delivered(rig, VECTOR), 1);
}

/// An irqfd on a GSI without a route is accepted; its events are swallowed, and do not come back
/// when the route does.
pub(super) fn unrouted_gsi_swallows_events(rig: &dyn Rig) {
    rig.vm().commit_routes(&[]).unwrap();
    let event = rig.eventfd();
    rig.vm().assign_irqfd(event.as_fd(), GSI).unwrap();
    signal(&event, 1);
    rig.settle();
    assert_eq!(take(&event), 0);
    route(rig);
    assert_eq!(delivered(rig, VECTOR), 0);
    signal(&event, 1);
    assert_eq!(delivered(rig, VECTOR), 1);
}

/// The GSI of an irqfd is not range-checked.
pub(super) fn gsi_of_an_irqfd_is_not_checked(rig: &dyn Rig) {
    for gsi in [4096, 70_000] {
        let event = rig.eventfd();
        rig.vm().assign_irqfd(event.as_fd(), Gsi(gsi)).unwrap();
        signal(&event, 1);
        rig.settle();
        rig.vm().deassign_irqfd(event.as_fd(), Gsi(gsi)).unwrap();
    }
}

/// Any number of eventfds can be bound to one GSI: equal routes can share.
pub(super) fn many_eventfds_share_a_gsi(rig: &dyn Rig) {
    route(rig);
    // More than any register or bitmap of 256 could hold.
    let events: Vec<OwnedFd> = (0..300).map(|_| rig.eventfd()).collect();
    for event in &events {
        rig.vm().assign_irqfd(event.as_fd(), GSI).unwrap();
    }
    for (n, event) in (1..).zip(&events) {
        signal(event, 1);
        assert_eq!(delivered(rig, VECTOR), n);
    }
}

/// Only eventfds can be bound and unbound.
pub(super) fn file_that_is_no_eventfd_is_refused(rig: &dyn Rig) {
    let null = File::open("/dev/null").unwrap();
    let event = rig.eventfd();
    let vm = rig.vm();
    let refused = Err(KvmErrno::INVAL);
    assert_eq!(vm.assign_irqfd(null.as_fd(), GSI), refused);
    assert_eq!(vm.deassign_irqfd(null.as_fd(), GSI), refused);
    let resample = vm.assign_resample_irqfd(event.as_fd(), null.as_fd(), GSI);
    assert_eq!(resample, refused);
}

/// Without an in-kernel irqchip there are no irqfds, tables, messages or lines.
pub(super) fn vm_without_irqchip_takes_nothing(rig: &dyn Rig) {
    let vm = rig.new_vm(VmShape {
        irqchip: IrqchipMode::None,
        ..VmShape::PC
    });
    let (event, resample) = (rig.eventfd(), rig.eventfd());
    let refused = Err(KvmErrno::INVAL);
    assert_eq!(vm.assign_irqfd(event.as_fd(), GSI), refused);
    let resampled = vm.assign_resample_irqfd(event.as_fd(), resample.as_fd(), GSI);
    assert_eq!(resampled, refused);
    assert_eq!(vm.commit_routes(&[entry(rig, GSI, VECTOR)]), refused);
    let message = vm.signal_msi(rig.message(VECTOR), None);
    assert_eq!(message, Err(KvmErrno::INVAL));
    let line = vm.set_line(Gsi(5), crate::vm_irq::LineLevel::High);
    assert_eq!(line, Err(KvmErrno::NXIO));
    assert_eq!(vm.deassign_irqfd(event.as_fd(), GSI), Ok(()));
}

/// A split irqchip has irqfds and messages, but no resample.
pub(super) fn split_irqchip_takes_plain_irqfds_only(rig: &dyn Rig) {
    let vm = rig.new_vm(VmShape {
        irqchip: IrqchipMode::Split,
        ..VmShape::PC
    });
    let (event, resample) = (rig.eventfd(), rig.eventfd());
    let resampled = vm.assign_resample_irqfd(event.as_fd(), resample.as_fd(), GSI);
    assert_eq!(resampled, Err(KvmErrno::INVAL));
    vm.assign_irqfd(event.as_fd(), GSI).unwrap();
    vm.commit_routes(&[entry(rig, GSI, VECTOR)]).unwrap();
}

/// A message needs no GSI.
pub(super) fn message_is_signalled_without_a_route(rig: &dyn Rig) {
    rig.vm().commit_routes(&[]).unwrap();
    let answer = rig.vm().signal_msi(rig.message(VECTOR), None);
    assert_eq!(answer, Ok(MsiDelivery::Delivered));
    assert_eq!(delivered(rig, VECTOR), 1);
}
