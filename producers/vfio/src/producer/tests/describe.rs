//! What producers tell of themselves, and of the device's own events.

use irqbroker_vfio_abi::DisplayEvent;
use irqbroker_vfio_abi::DisplayEventKind;
use irqbroker_vfio_abi::IrqCapability;
use irqbroker_vfio_abi::IrqType;
use irqbroker_vfio_abi::MsiDescriptor;
use irqbroker_vfio_abi::PlaneMask;

use super::*;
use crate::sim::Raised;

#[test]
fn producers_of_pci_tell_edge_or_automasked_level_and_the_source_id() {
    let builder = SimDevice::pci().intx().msi(4).msix(4).express();
    let (_sim, device) = device(builder);
    let edge = ProducerInfo {
        source_id: Some(Rid(0x28)),
        ..ProducerInfo::edge()
    };
    for (index, name) in [
        (IrqIndex::MSIX, "dev.msix0"),
        (IrqIndex::MSI, "dev.msi0"),
        (IrqIndex::ERR, "dev.err"),
        (IrqIndex::REQ, "dev.req"),
    ] {
        let (_index, producer) = bound(&device, index);
        assert_eq!((producer.info(), producer.name()), (edge, name.into()));
        assert!(producer.mask_control().is_none(), "{name}");
    }
    let (_index, intx) = bound(&device, INTX);
    let level = ProducerInfo {
        source_id: Some(Rid(0x28)),
        ..ProducerInfo::automasked_level()
    };
    assert_eq!((intx.info(), intx.name()), (level, "dev.intx".into()));
    assert!(intx.mask_control().is_some());
}

#[test]
fn producers_of_platform_tell_an_edge_from_an_automasked_level() {
    let (sim, device) = device(SimDevice::platform(&[Trigger::Edge, Trigger::Level]));
    let [(_edges, edge), (_levels, level)] = [0, 1].map(|at| bound(&device, IrqIndex(at)));
    assert_eq!(
        (edge.info().trigger, edge.info().masking),
        (Trigger::Edge, Masking::None)
    );
    assert_eq!(level.info().masking, Masking::Device);
    assert!(level.info().automasked && !edge.info().automasked);
    assert_eq!(level.name(), "dev.irq1");

    sim.raise(IrqIndex(0), 0);
    sim.raise(IrqIndex(0), 0);
    sim.assert_line(IrqIndex(1));

    assert_eq!((take(edge.token()), take(level.token())), (2, 1));
}

#[test]
fn producer_of_a_platform_msi_tells_the_message_of_its_sub_index() {
    let message = |sub_index, data| MsiDescriptor {
        sub_index,
        address: 0x0808_0000,
        data,
    };
    let capabilities = vec![
        IrqCapability::Type(IrqType::PLATFORM_MSI),
        // Sub-index 1 is not set up.
        IrqCapability::MsiDescriptors(vec![message(0, 32), message(2, 34)]),
    ];
    let builder = SimDevice::platform(&[Trigger::Level]);
    let (_sim, device) = device(builder.own_index(3, IrqFlags::EVENTFD, capabilities));
    let found = device.find(IrqType::PLATFORM_MSI).unwrap().unwrap();
    let index = device.index(found.index).unwrap();

    let producers = index.bind(0..3).unwrap();

    let data = producers.iter().map(|producer| producer.info().message);
    let data: Vec<_> = data
        .map(|message| message.map(|message| message.data))
        .collect();
    assert_eq!(data, [Some(32), None, Some(34)]);
}

fn display() -> SimDeviceBuilder {
    let event = |sub_index, kind| DisplayEvent {
        sub_index,
        kind,
        head: 0,
        planes: PlaneMask::empty(),
    };
    let events = vec![
        event(0, DisplayEventKind::VBLANK),
        event(1, DisplayEventKind::FLIP),
    ];
    let flags = IrqFlags::EVENTFD | IrqFlags::MASKABLE;
    SimDevice::pci().own_index(
        2,
        flags,
        vec![
            IrqCapability::Type(IrqType::GFX_DISPLAY),
            IrqCapability::Display(events),
        ],
    )
}

#[test]
fn index_of_the_devices_own_is_found_by_type_and_has_an_eventfd_each() {
    let (sim, device) = device(display());
    assert_eq!(device.find(IrqType::PLATFORM_MSI), Ok(None));
    let found = device.find(IrqType::GFX_DISPLAY).unwrap().unwrap();
    assert_eq!((found.index, found.count), (IrqIndex(5), 2));
    let index = device.index(found.index).unwrap();

    let producers = index.bind(0..2).unwrap();
    sim.raise(found.index, 1);

    let taken: Vec<_> = producers
        .iter()
        .map(|producer| take(producer.token()))
        .collect();
    assert_eq!(taken, [0, 1]);
    assert_eq!(producers[1].name(), "dev.irq5.1");
    assert_eq!(producers[1].info().trigger, Trigger::Edge);
}

#[test]
fn masked_event_of_the_devices_own_is_held_and_comes_with_the_unmask() {
    let (sim, device) = device(display());
    let (_index, vblank) = bound(&device, IrqIndex(5));
    let mask = vblank.mask_control().unwrap();
    mask.mask().unwrap();
    for _ in 0..3 {
        assert_eq!(sim.raise(IrqIndex(5), 0), Raised::Held);
    }
    assert_eq!(take(vblank.token()), 0);
    mask.unmask().unwrap();
    assert_eq!(take(vblank.token()), 1);
}
