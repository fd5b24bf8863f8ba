//! Rules of `KVM_SET_GSI_ROUTING`.
#![expect(
    clippy::unwrap_used,
    reason = "bodies of tests: a refusal is the failure"
)]

use std::os::fd::AsFd;

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::Vector;

use super::irqfd::GSI;
use super::irqfd::VECTOR;
use super::irqfd::delivered;
use super::irqfd::entry;
use super::irqfd::signal;
use super::rig::Rig;
use super::rig::VmShape;
use crate::capabilities::IrqchipMode;
use crate::errno::KvmErrno;
use crate::message::DestinationIds;
use crate::route::Irqchip;
use crate::route::MsiRoute;
use crate::route::Route;
use crate::route::RouteEntry;

/// A second vector, beside [`VECTOR`].
const OTHER: Vector = Vector(0x62);

const REFUSED: Result<(), KvmErrno> = Err(KvmErrno::INVAL);

fn pin(gsi: u32, chip: Irqchip, pin: u32) -> RouteEntry {
    RouteEntry {
        gsi: Gsi(gsi),
        target: Route::Pin { chip, pin },
    }
}

/// A table write replaces the whole table: a route that is not in it is gone.
pub(super) fn write_replaces_the_whole_table(rig: &dyn Rig) {
    let vm = rig.vm();
    let (event, next) = (rig.eventfd(), Gsi(GSI.0 + 1));
    vm.commit_routes(&[entry(rig, GSI, VECTOR)]).unwrap();
    vm.assign_irqfd(event.as_fd(), GSI).unwrap();
    vm.commit_routes(&[entry(rig, next, OTHER)]).unwrap();
    signal(&event, 1);
    assert_eq!(delivered(rig, VECTOR), 0);
    assert_eq!(delivered(rig, OTHER), 0);
}

/// A table can be empty.
pub(super) fn empty_table_is_legal(rig: &dyn Rig) {
    let vm = rig.vm();
    let event = rig.eventfd();
    vm.commit_routes(&[entry(rig, GSI, VECTOR)]).unwrap();
    vm.assign_irqfd(event.as_fd(), GSI).unwrap();
    vm.commit_routes(&[]).unwrap();
    signal(&event, 1);
    assert_eq!(delivered(rig, VECTOR), 0);
}

/// An irqfd follows its GSI to where a new table leads.
pub(super) fn write_under_a_live_irqfd_moves_it(rig: &dyn Rig) {
    let vm = rig.vm();
    let event = rig.eventfd();
    vm.commit_routes(&[entry(rig, GSI, VECTOR)]).unwrap();
    vm.assign_irqfd(event.as_fd(), GSI).unwrap();
    vm.commit_routes(&[entry(rig, GSI, OTHER)]).unwrap();
    signal(&event, 1);
    assert_eq!(delivered(rig, VECTOR), 0);
    assert_eq!(delivered(rig, OTHER), 1);
}

/// The same table again is accepted, and irqfds deliver on.
pub(super) fn equal_table_is_accepted(rig: &dyn Rig) {
    let vm = rig.vm();
    let event = rig.eventfd();
    let table = [entry(rig, GSI, VECTOR)];
    vm.commit_routes(&table).unwrap();
    vm.assign_irqfd(event.as_fd(), GSI).unwrap();
    vm.commit_routes(&table).unwrap();
    signal(&event, 1);
    assert_eq!(delivered(rig, VECTOR), 1);
}

/// The GSI of a route is below the number of entries a table can have.
pub(super) fn gsi_beyond_the_table_is_refused(rig: &dyn Rig) {
    let vm = rig.vm();
    let limit = vm.capabilities().max_routes;
    vm.commit_routes(&[entry(rig, Gsi(limit - 1), VECTOR)])
        .unwrap();
    let beyond = [entry(rig, Gsi(limit), VECTOR)];
    assert_eq!(vm.commit_routes(&beyond), REFUSED);
}

/// A table has `KVM_CAP_IRQ_ROUTING` entries at most.
pub(super) fn full_table_is_accepted_and_one_more_refused(rig: &dyn Rig) {
    let vm = rig.vm();
    let limit = vm.capabilities().max_routes;
    let mut table: Vec<RouteEntry> = (0..limit).map(|gsi| entry(rig, Gsi(gsi), VECTOR)).collect();
    vm.commit_routes(&table).unwrap();
    // Legal but for the number: the PIC's pin beside the IOAPIC's.
    table[0] = pin(0, Irqchip::IOAPIC, 0);
    table.push(pin(0, Irqchip::PIC_MASTER, 0));
    assert_eq!(vm.commit_routes(&table), REFUSED);
}

/// A GSI has one message at most.
pub(super) fn two_messages_on_a_gsi_are_refused(rig: &dyn Rig) {
    let table = [entry(rig, GSI, VECTOR), entry(rig, GSI, OTHER)];
    assert_eq!(rig.vm().commit_routes(&table), REFUSED);
}

/// A GSI with a message has no pin.
pub(super) fn message_and_pin_on_a_gsi_are_refused(rig: &dyn Rig) {
    let table = [entry(rig, Gsi(5), VECTOR), pin(5, Irqchip::IOAPIC, 5)];
    assert_eq!(rig.vm().commit_routes(&table), REFUSED);
}

/// A GSI has one pin of each controller at most.
pub(super) fn two_pins_of_one_chip_on_a_gsi_are_refused(rig: &dyn Rig) {
    let table = [pin(5, Irqchip::IOAPIC, 5), pin(5, Irqchip::IOAPIC, 6)];
    assert_eq!(rig.vm().commit_routes(&table), REFUSED);
}

/// An ISA interrupt of a PC leads to the PIC and to the IOAPIC.
pub(super) fn pins_of_two_chips_on_a_gsi_are_accepted(rig: &dyn Rig) {
    let table = [pin(5, Irqchip::PIC_MASTER, 5), pin(5, Irqchip::IOAPIC, 5)];
    rig.vm().commit_routes(&table).unwrap();
}

/// The IOAPIC has pins 0-23, each PIC 0-7.
pub(super) fn pin_the_chip_lacks_is_refused(rig: &dyn Rig) {
    let vm = rig.vm();
    for (chip, last) in [
        (Irqchip::PIC_MASTER, 7),
        (Irqchip::PIC_SLAVE, 7),
        (Irqchip::IOAPIC, 23),
    ] {
        vm.commit_routes(&[pin(5, chip, last)]).unwrap();
        assert_eq!(vm.commit_routes(&[pin(5, chip, last + 1)]), REFUSED);
    }
    assert_eq!(vm.commit_routes(&[pin(5, Irqchip(3), 0)]), REFUSED);
}

/// A split irqchip has no pins in the kernel.
pub(super) fn pin_with_split_irqchip_is_refused(rig: &dyn Rig) {
    let vm = rig.new_vm(VmShape {
        irqchip: IrqchipMode::Split,
        ..VmShape::PC
    });
    assert_eq!(vm.commit_routes(&[pin(5, Irqchip::IOAPIC, 5)]), REFUSED);
}

/// With 32-bit ids, address bits 39:32 are zero or the table is refused; without, they are
/// ignored.
pub(super) fn reserved_address_bits_are_refused_with_32_bit_ids(rig: &dyn Rig) {
    let wide = rig.new_vm(VmShape {
        destination_ids: DestinationIds::Bits32,
        ..VmShape::PC
    });
    let plain = rig.message(VECTOR);
    for (bit, answer) in [(32, REFUSED), (39, REFUSED), (40, Ok(())), (63, Ok(()))] {
        let message = MsiMessage {
            address: plain.address | 1 << bit,
            ..plain
        };
        let table = [RouteEntry {
            gsi: GSI,
            target: Route::Msi(MsiRoute {
                message,
                device: None,
            }),
        }];
        assert_eq!(wide.commit_routes(&table), answer, "bit {bit}");
        assert_eq!(rig.vm().commit_routes(&table), Ok(()), "bit {bit}");
    }
}

/// A refused table changes nothing.
pub(super) fn refused_table_leaves_the_old_one(rig: &dyn Rig) {
    let vm = rig.vm();
    let event = rig.eventfd();
    vm.commit_routes(&[entry(rig, GSI, VECTOR)]).unwrap();
    vm.assign_irqfd(event.as_fd(), GSI).unwrap();
    // The refused entry comes after one that would move the irqfd.
    let limit = vm.capabilities().max_routes;
    let table = [entry(rig, GSI, OTHER), entry(rig, Gsi(limit), OTHER)];
    assert_eq!(vm.commit_routes(&table), REFUSED);
    signal(&event, 1);
    assert_eq!(delivered(rig, VECTOR), 1);
    assert_eq!(delivered(rig, OTHER), 0);
}
