//! A head as a VFIO device of its own, to be looked at.
//!
//! `VFIO_DEVICE_QUERY_GFX_PLANE` knows no heads, and a device has one user who binds its
//! interrupts. A view is a device for each further one who looks: it has the pictures of one head,
//! that head's display interrupt with eventfds and masks of its own, and nothing that the guest sees. One with
//! the right to it changes the monitor: whoever shows a picture says how large it is best.
//!
//! | region | what |
//! |---|---|
//! | 0 | the primary plane, from its first byte on, as of the latest query |
//! | 1 | the cursor, likewise |
//! | 2 | the head's EDID ([`RegionType::GFX_EDID`](irqbroker_vfio_abi::RegionType::GFX_EDID)), to be read |
//!
//! Interrupt index 0 is the display's, with the events of this head from sub-index 0 on.

use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DeviceFlags;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::DisplayEvent;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqBind;
use irqbroker_vfio_abi::IrqCapability;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::IrqType;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;

use crate::device::Asker;
use crate::device::DISPLAY_FLAGS;
use crate::device::Plane;
use crate::device::UnknownHead;
use crate::device::VIEW_DISPLAY;
use crate::device::VgpuDevice;
use crate::head::HeadId;
use crate::head_event::HeadEvent;

const PRIMARY: RegionIndex = RegionIndex(0);
const CURSOR: RegionIndex = RegionIndex(1);
const EDID: RegionIndex = RegionIndex(2);
const NUM_REGIONS: u32 = 3;

/// A head of a vGPU for one more looker-on, who takes nothing from the device's own user.
///
/// Its regions hold the picture of the latest query, so a view is for one looker-on at a time; one
/// is made for each. Dropping it ends its bindings.
#[derive(Debug)]
pub struct HeadView {
    device: Arc<VgpuDevice>,
    head: HeadId,
    place: usize,
    monitor: MonitorAccess,
}

/// What a view may do to the monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MonitorAccess {
    Read,
    Change,
}

impl VgpuDevice {
    /// A view of a head, to be looked at and no more.
    ///
    /// # Errors
    ///
    /// [`UnknownHead`].
    pub fn head_view(self: &Arc<Self>, head: HeadId) -> Result<HeadView, UnknownHead> {
        let known = self.instance().head(head).ok_or(UnknownHead { head })?;
        Ok(HeadView {
            device: Arc::clone(self),
            head,
            place: self.add_view(usize::from(known.id().0)),
            monitor: MonitorAccess::Read,
        })
    }
}

impl HeadView {
    /// One that may change the head's monitor, too: its EDID region can be written.
    #[must_use]
    pub const fn with_monitor(mut self) -> Self {
        self.monitor = MonitorAccess::Change;
        self
    }

    /// Which head it shows.
    #[must_use]
    pub const fn head(&self) -> HeadId {
        self.head
    }

    /// The device it belongs to.
    #[must_use]
    pub const fn device(&self) -> &Arc<VgpuDevice> {
        &self.device
    }

    const fn asker(&self) -> Asker {
        Asker::View(self.place)
    }
}

impl Drop for HeadView {
    fn drop(&mut self) {
        self.device.remove_view(self.place);
    }
}

const fn plane_of(index: RegionIndex) -> Option<Plane> {
    match index {
        PRIMARY => Some(Plane::Primary),
        CURSOR => Some(Plane::Cursor),
        _ => None,
    }
}

const fn region_of(plane: Plane) -> RegionIndex {
    match plane {
        Plane::Primary => PRIMARY,
        Plane::Cursor => CURSOR,
    }
}

impl Device for HeadView {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        Ok(DeviceInfo {
            flags: DeviceFlags::empty(),
            num_regions: NUM_REGIONS,
            num_irqs: 1,
            capabilities: Vec::new(),
        })
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Errno> {
        if index == EDID {
            let mut info = self.device.edid_region_info(index);
            let may_change = self.monitor == MonitorAccess::Change;
            info.flags.set(RegionFlags::WRITE, may_change);
            return Ok(info);
        }
        let plane = plane_of(index).ok_or(Errno::EINVAL)?;
        self.device.window_info(self.asker(), plane, index)
    }

    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        if index != VIEW_DISPLAY {
            return Err(Errno::EINVAL);
        }
        let events = HeadEvent::ALL.map(|event| DisplayEvent {
            sub_index: event.sub_index(HeadId(0)),
            ..event.describe(self.head)
        });
        Ok(IrqInfo {
            index,
            flags: DISPLAY_FLAGS,
            // Five.
            count: u32::try_from(events.len()).unwrap_or(0),
            capabilities: vec![
                IrqCapability::Type(IrqType::GFX_DISPLAY),
                IrqCapability::Display(events.to_vec()),
            ],
        })
    }

    fn set_irqs(&self, request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        let answer = self.device.set_view_irqs(self.place, request.into());
        answer.map(|()| IrqSetAnswer::Done)
    }

    fn bind_irqs(&self, request: IrqBind) -> Result<IrqSetAnswer, Errno> {
        let answer = self.device.set_view_irqs(self.place, request.into());
        answer.map(|()| IrqSetAnswer::Done)
    }

    fn region_read(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        if index == EDID {
            let head = usize::from(self.head.0);
            return self.device.read_edid_region(head, offset, data);
        }
        let plane = plane_of(index).ok_or(Errno::EINVAL)?;
        self.device.read_window(self.asker(), plane, offset, data)
    }

    fn region_write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        if index != EDID || self.monitor == MonitorAccess::Read {
            return Err(Errno::EINVAL);
        }
        let head = usize::from(self.head.0);
        self.device.write_edid_region(head, offset, data)
    }

    fn reset(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn region_fd(&self, index: RegionIndex) -> Option<BorrowedFd<'_>> {
        plane_of(index).map(|_| self.device.vram_read_only())
    }

    fn probe_gfx(&self, transport: GfxTransport) -> Result<(), Errno> {
        self.device.probe_transport(transport)
    }

    fn query_gfx_plane(
        &self,
        transport: GfxTransport,
        plane: PlaneType,
    ) -> Result<GfxPlaneInfo, Errno> {
        self.device
            .query_plane(self.asker(), transport, plane, region_of)
    }

    fn gfx_dmabuf(&self, id: DmabufId) -> Result<OwnedFd, Errno> {
        self.device.fetch_dmabuf(self.asker(), id)
    }
}

#[cfg(test)]
mod tests;
