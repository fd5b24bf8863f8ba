//! Interrupts as QEMU 11.1 sets them.

use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqDataKind;
use irqbroker_vfio_abi::IrqIndex;

use crate::command::Command;
use crate::fake_device::FakeDevice;
use crate::fake_irqs::FakeIrqSet;
use crate::session::Session;
use crate::testing::CountedFiles;
use crate::testing::ask;
use crate::testing::device;
use crate::testing::info;
use crate::testing::irqs;
use crate::testing::open_session;

fn set_irqs(flags: u32, index: u32, start: u32, count: u32) -> Vec<u8> {
    irqs(20, flags, index, start, count)
}

#[test]
fn msix_is_enabled_with_nothing_bound_and_then_bound_vector_by_vector() {
    let files = CountedFiles::new();
    let device = device();
    let mut session = open_session(&device);
    let mut ok = |flags, index, start, count, fds| {
        let payload = set_irqs(flags, index, start, count);
        let reply = ask(&mut session, Command::DEVICE_SET_IRQS, &payload, fds);
        assert_eq!(reply.outcome(), Ok(()));
        assert!(reply.payload.is_empty());
    };

    ok(0x24, 0, 0, 1, files.make(1));
    ok(0x24, 3, 0, 1, files.make(1));
    ok(0x21, 0, 0, 0, Vec::new());
    ok(0x24, 2, 0, 1, Vec::new());
    ok(0x24, 2, 0, 1, files.make(1));
    let bound = device.bound();
    ok(0x21, 2, 0, 0, Vec::new());
    ok(0x24, 0, 0, 1, files.make(1));
    ok(0x11, 0, 0, 1, Vec::new());

    assert_eq!(bound, [(IrqIndex::MSIX, 0), (IrqIndex::ERR, 0)]);
    assert_eq!(device.bound(), [(IrqIndex::INTX, 0), (IrqIndex::ERR, 0)]);
    assert_eq!(
        device.take_irq_sets().last(),
        Some(&FakeIrqSet {
            index: IrqIndex::INTX,
            start: 0,
            count: 1,
            action: IrqAction::Unmask,
            data: IrqDataKind::None,
        })
    );
    drop(session);
    assert_eq!(device.bound(), []);
    assert_eq!(files.open(), 0);
}

#[test]
fn bools_fire_where_they_are_set() {
    let files = CountedFiles::new();
    let device = device();
    let mut session = open_session(&device);
    ask(
        &mut session,
        Command::DEVICE_SET_IRQS,
        &set_irqs(0x24, 2, 0, 3),
        files.make(3),
    );
    let mut payload = set_irqs(0x22, 2, 0, 3);
    payload[0] = 23;
    payload.extend_from_slice(&[1, 0, 1]);

    let reply = ask(&mut session, Command::DEVICE_SET_IRQS, &payload, Vec::new());

    assert_eq!(reply.outcome(), Ok(()));
    assert_eq!(
        device
            .take_irq_sets()
            .last()
            .map(|set| (set.count, set.data)),
        Some((3, IrqDataKind::Bool))
    );
}

#[test]
fn reset_reaches_the_device_and_leaves_what_is_bound() {
    let files = CountedFiles::new();
    let device = device();
    let mut session = open_session(&device);
    ask(
        &mut session,
        Command::DEVICE_SET_IRQS,
        &set_irqs(0x24, 2, 0, 1),
        files.make(1),
    );

    let reply = ask(&mut session, Command::DEVICE_RESET, &[], Vec::new());

    assert_eq!(reply.outcome(), Ok(()));
    assert_eq!(device.resets(), 1);
    assert_eq!(device.bound(), [(IrqIndex::MSIX, 0)]);
}

#[test]
fn display_index_has_its_capabilities_only_in_an_answer_with_room_for_them() {
    let device = device();
    let mut session = open_session(&device);
    let index = FakeDevice::DISPLAY.0;
    let ask = |session: &mut Session, argsz| {
        ask(
            session,
            Command::DEVICE_GET_IRQ_INFO,
            &info(argsz, index, 16),
            Vec::new(),
        )
    };

    let first = ask(&mut session, 16);
    let needed = u32::from_ne_bytes(*first.payload.first_chunk().expect("argsz"));
    let second = ask(&mut session, needed);

    assert_eq!(first.payload.len(), 16);
    assert!(needed > 24);
    assert_eq!(u32::try_from(second.payload.len()), Ok(needed));
}
