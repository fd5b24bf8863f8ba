use std::io::Read;
use std::os::fd::AsFd;

use irqbroker_core::Token;
use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxSurface;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionCapability;
use irqbroker_vfio_abi::RegionIndex;
use rustix::event::EventfdFlags;

use super::*;
use crate::bus_master::enable_bus_master;

const INTX: IrqIndex = IrqIndex::INTX;
const MSIX: IrqIndex = IrqIndex::MSIX;
const CONFIG: RegionIndex = RegionIndex::CONFIG;

fn event() -> Token {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    Token::of(rustix::event::eventfd(0, flags).unwrap()).unwrap()
}

fn bind(device: &SimDevice, index: IrqIndex, events: &[&Token]) -> Result<IrqSetAnswer, Errno> {
    let fds: Vec<_> = events.iter().map(|event| Some(event.as_fd())).collect();
    device.set_irqs(&IrqSet::bind(index, 0, &fds))
}

fn set_now(device: &SimDevice, index: IrqIndex, action: IrqAction) {
    let data = IrqData::None { count: 1 };
    let start = 0;
    let request = IrqSet {
        index,
        start,
        action,
        data,
    };
    assert_eq!(device.set_irqs(&request), Ok(IrqSetAnswer::Done));
}

fn pending(event: &Token) -> u64 {
    event.pending().unwrap()
}

#[test]
fn message_does_not_leave_a_device_that_is_no_bus_master() {
    let device = SimDevice::pci().msix(1).build();
    let event = event();
    bind(&device, MSIX, &[&event]).unwrap();
    assert_eq!(device.raise(MSIX, 0), Raised::NoBusMaster);
    // VFIO's loopback does not go through the device.
    set_now(&device, MSIX, IrqAction::Trigger);
    assert_eq!(pending(&event), 1);

    enable_bus_master(&*device).unwrap();
    assert_eq!(device.raise(MSIX, 0), Raised::Signalled);
    assert_eq!(device.raise(MSIX, 1), Raised::Unbound);

    device.reset().unwrap();
    assert_eq!(device.raise(MSIX, 0), Raised::NoBusMaster);
    assert_eq!(pending(&event), 2);
}

#[test]
fn line_that_is_asserted_before_it_is_bound_fires_at_once() {
    let device = SimDevice::pci().intx().build();
    let event = event();
    device.assert_line(INTX);
    bind(&device, INTX, &[&event]).unwrap();
    assert_eq!(pending(&event), 1);
    assert!(device.is_masked(INTX));
}

#[test]
fn line_fires_once_until_unmasked_and_again_while_asserted() {
    let device = SimDevice::pci().intx().build();
    let event = event();
    bind(&device, INTX, &[&event]).unwrap();
    for _ in 0..3 {
        device.assert_line(INTX);
    }
    assert_eq!(pending(&event), 1);
    set_now(&device, INTX, IrqAction::Unmask);
    assert_eq!(pending(&event), 2);
    device.deassert_line(INTX);
    set_now(&device, INTX, IrqAction::Unmask);
    assert_eq!(pending(&event), 2);
    assert!(!device.is_masked(INTX));
}

#[test]
fn guests_own_dis_intx_masks_and_its_clearing_delivers() {
    let device = SimDevice::pci().intx().build();
    let event = event();
    bind(&device, INTX, &[&event]).unwrap();
    let dis_intx = |bit: u8| device.region_write(CONFIG, 4, &[0, bit << 2]).unwrap();
    dis_intx(1);
    device.assert_line(INTX);
    set_now(&device, INTX, IrqAction::Unmask);
    set_now(&device, INTX, IrqAction::Trigger);
    assert_eq!(pending(&event), 0);
    let mut status = [0; 2];
    device.region_read(CONFIG, 6, &mut status).unwrap();
    assert_eq!(status[0] & 1 << 3, 1 << 3, "interrupt status");

    dis_intx(0);

    assert_eq!(pending(&event), 1);
}

#[test]
fn intx_without_a_line_is_no_device() {
    let device = SimDevice::pci().intx_not_connected().build();
    assert_eq!(bind(&device, INTX, &[&event()]), Err(Errno::ENODEV));
}

#[test]
fn host_with_fewer_vectors_answers_how_many() {
    let device = SimDevice::pci().msix(4).host_vectors(2).build();
    let events = [event(), event(), event()];
    let [a, b, c] = &events;
    assert_eq!(bind(&device, MSIX, &[a, b, c]), Ok(IrqSetAnswer::Fewer(2)));
    assert_eq!(device.active(), None);
    assert_eq!(bind(&device, MSIX, &[a, b]), Ok(IrqSetAnswer::Done));
    let beyond = device.set_irqs(&IrqSet::bind(MSIX, 2, &[Some(c.as_fd())]));
    assert_eq!(beyond, Err(Errno::ENOSPC));
    let none = SimDevice::pci().msix(4).host_vectors(0).build();
    assert_eq!(bind(&none, MSIX, &[a]), Err(Errno::ENOSPC));
}

#[test]
fn eventfd_is_held_beyond_the_close_of_the_callers() {
    let device = SimDevice::pci().build();
    let (kept, bound) = {
        let event = event();
        (Token::of(&event).unwrap(), event)
    };
    bind(&device, IrqIndex::REQ, &[&bound]).unwrap();
    drop(bound);
    assert_eq!(device.raise(IrqIndex::REQ, 0), Raised::Signalled);
    assert_eq!(pending(&kept), 1);
}

#[test]
fn unplugged_device_answers_enodev_to_everything_and_signals_nothing() {
    let device = SimDevice::pci().intx().build();
    let event = event();
    bind(&device, INTX, &[&event]).unwrap();
    device.unplug();
    device.assert_line(INTX);
    assert_eq!(device.info(), Err(Errno::ENODEV));
    assert_eq!(bind(&device, INTX, &[&event]), Err(Errno::ENODEV));
    assert_eq!(
        device.region_read(CONFIG, 0, &mut [0; 4]),
        Err(Errno::ENODEV)
    );
    assert_eq!(device.reset(), Err(Errno::ENODEV));
    assert_eq!(pending(&event), 0);
}

#[test]
fn scripted_fault_hits_the_request_it_was_meant_for() {
    let device = SimDevice::pci().msix(4).build();
    device.fail_nth(Request::SetIrqs, 1, Fault::Errno(Errno::EBUSY));
    let event = event();
    assert_eq!(bind(&device, MSIX, &[&event]), Ok(IrqSetAnswer::Done));
    device.info().unwrap();
    assert_eq!(bind(&device, MSIX, &[&event]), Err(Errno::EBUSY));
    device.fail_next(Request::SetIrqs, Fault::Answer(3));
    assert_eq!(bind(&device, MSIX, &[&event]), Ok(IrqSetAnswer::Fewer(3)));
}

#[test]
fn regions_are_read_and_written_within_their_bounds() {
    let device = SimDevice::pci().msix(4).build();
    let bar = device.region_info(RegionIndex::BAR0).unwrap();
    assert_eq!(bar.capabilities, [RegionCapability::MsixMappable]);
    assert_eq!(
        device.region_write(RegionIndex::BAR0, 4094, &[1, 2, 3, 4]),
        Ok(2)
    );
    let mut read = [0; 2];
    assert_eq!(
        device.region_read(RegionIndex::BAR0, 4094, &mut read),
        Ok(2)
    );
    assert_eq!(read, [1, 2]);
    for (index, offset) in [
        (RegionIndex::BAR0, 4096),
        (CONFIG, u64::MAX),
        (RegionIndex::BAR1, 0),
    ] {
        let beyond = device.region_read(index, offset, &mut read);
        assert_eq!(beyond, Err(Errno::EINVAL), "{index} {offset}");
    }
}

#[test]
fn plane_is_queried_and_its_picture_is_a_file_of_its_size() {
    let id = DmabufId(7);
    let shown = GfxPlaneInfo {
        format: 0x3432_5258,
        width: 64,
        height: 64,
        stride: 256,
        size: 16384,
        surface: GfxSurface::Dmabuf(id),
        ..GfxPlaneInfo::disabled(PlaneType::PRIMARY, GfxTransport::Dmabuf)
    };
    let device = SimDevice::pci().plane(shown).build();
    assert_eq!(device.probe_gfx(GfxTransport::Dmabuf), Ok(()));
    assert_eq!(device.probe_gfx(GfxTransport::Region), Err(Errno::EINVAL));
    let found = device.query_gfx_plane(GfxTransport::Dmabuf, PlaneType::PRIMARY);
    assert_eq!(found, Ok(shown));
    let mut picture = Vec::new();
    let mut file = std::fs::File::from(device.gfx_dmabuf(id).unwrap());
    file.read_to_end(&mut picture).unwrap();
    assert_eq!(picture.len(), 16384);
    assert_eq!(device.gfx_dmabuf(DmabufId(8)).unwrap_err(), Errno::EINVAL);
}

#[test]
fn enable_bus_master_keeps_the_other_bits_and_fails_with_the_device() {
    let device = SimDevice::pci().build();
    device.region_write(CONFIG, 4, &[0, 4]).unwrap();
    enable_bus_master(&*device).unwrap();
    let mut command = [0; 2];
    device.region_read(CONFIG, 4, &mut command).unwrap();
    assert_eq!(command, [6, 4]);
    device.unplug();
    assert_eq!(enable_bus_master(&*device), Err(Errno::ENODEV));
}
