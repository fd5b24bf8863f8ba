//! The VFIO face of a device.

use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DeviceFlags;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqBind;
use irqbroker_vfio_abi::IrqCapability;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::IrqType;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;

use crate::device::Asker;
use crate::device::VgpuDevice;
use crate::device::bindings::DISPLAY;
use crate::device::bindings::DISPLAY_FLAGS;
use crate::device::bindings::NUM_IRQS;
use crate::device::irq_request::IrqRequest;
use crate::device::regions::NUM_REGIONS;
use crate::device::regions::Region;
use crate::device::regions::Reset;
use crate::device::regions::region_of;
use crate::device::state::head_id;
use crate::head_event::HeadEvent;

impl Device for VgpuDevice {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        Ok(DeviceInfo {
            flags: DeviceFlags::PCI | DeviceFlags::RESET,
            num_regions: NUM_REGIONS,
            num_irqs: NUM_IRQS,
            capabilities: Vec::new(),
        })
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Errno> {
        self.region(index)
    }

    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        let flags = match index {
            // Vectors can be added at any time.
            IrqIndex::MSIX => IrqFlags::EVENTFD,
            IrqIndex::ERR | IrqIndex::REQ => IrqInfo::pci_flags(index),
            DISPLAY => DISPLAY_FLAGS,
            _ => return IrqInfo::absent_pci(index),
        };
        let capabilities = if index == DISPLAY {
            let heads = (0..self.ports.len()).map(head_id);
            let events = heads.flat_map(|head| HeadEvent::ALL.map(|event| event.describe(head)));
            vec![
                IrqCapability::Type(IrqType::GFX_DISPLAY),
                IrqCapability::Display(events.collect()),
            ]
        } else {
            Vec::new()
        };
        Ok(IrqInfo {
            index,
            flags,
            count: self.lock().bindings.count(index),
            capabilities,
        })
    }

    fn set_irqs(&self, request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        self.set_interrupts(IrqRequest::from(request))
    }

    fn bind_irqs(&self, request: IrqBind) -> Result<IrqSetAnswer, Errno> {
        self.set_interrupts(IrqRequest::from(request))
    }

    fn region_read(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        self.read_region(index, offset, data)
    }

    fn region_write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        self.write_region(index, offset, data)
    }

    fn reset(&self) -> Result<(), Errno> {
        self.reset_all(Reset::Device)
    }

    fn region_fd(&self, index: RegionIndex) -> Option<BorrowedFd<'_>> {
        match Region::of(index)? {
            Region::Vram => Some(self.vram.fd()),
            Region::Plane(_) => Some(self.vram_read_only()),
            _ => None,
        }
    }

    fn probe_gfx(&self, transport: GfxTransport) -> Result<(), Errno> {
        self.probe_transport(transport)
    }

    fn query_gfx_plane(
        &self,
        transport: GfxTransport,
        plane: PlaneType,
    ) -> Result<GfxPlaneInfo, Errno> {
        self.query_plane(Asker::Device, transport, plane, region_of)
    }

    fn gfx_dmabuf(&self, id: DmabufId) -> Result<OwnedFd, Errno> {
        self.fetch_dmabuf(Asker::Device, id)
    }

    fn save(&self) -> Result<OwnedFd, Errno> {
        Ok(self.save_state()?)
    }

    fn restore(&self, saved: BorrowedFd<'_>) -> Result<(), Errno> {
        Ok(self.restore_state(saved)?)
    }

    fn resume(&self) {
        self.resume_events();
    }
}

impl VgpuDevice {
    fn set_interrupts(&self, request: IrqRequest<'_>) -> Result<IrqSetAnswer, Errno> {
        let mut state = self.lock();
        let answer = state.set_irqs(&self.instance, request);
        for head in 0..self.ports.len() {
            state.rearm(&self.instance, head);
        }
        answer.map(|()| IrqSetAnswer::Done)
    }
}
