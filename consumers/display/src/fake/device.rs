//! What it answers as a device.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DeviceFlags;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::DisplayEvent;
use irqbroker_vfio_abi::DisplayEventKind;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxSurface;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqCapability;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::IrqType;
use irqbroker_vfio_abi::PlaneMask;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionCapability;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;
use irqbroker_vfio_abi::RegionType;
use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;

use crate::fake::FakeDisplay;
use crate::fake::REFRESH;
use crate::fake::SIZE;

/// The region of a monitor.
const EDID: RegionIndex = RegionIndex(2);
/// The dma-buf of the cursor. That of the picture has any other id.
const CURSOR_ID: DmabufId = DmabufId(1000);

impl Device for FakeDisplay {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        Ok(DeviceInfo {
            flags: DeviceFlags::empty(),
            num_regions: 3,
            num_irqs: 6,
            capabilities: Vec::new(),
        })
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Errno> {
        let state = self.state();
        let mut flags = RegionFlags::READ;
        if index == EDID {
            let has_monitor = state.edid.is_some();
            flags.set(RegionFlags::WRITE, !state.is_fixed);
            return Ok(RegionInfo {
                index,
                flags,
                size: if has_monitor { 4096 } else { 0 },
                offset: 0,
                capabilities: has_monitor
                    .then_some(RegionCapability::Type(RegionType::GFX_EDID))
                    .into_iter()
                    .collect(),
            });
        }
        flags.set(RegionFlags::MMAP, state.mappable);
        Ok(RegionInfo {
            index,
            flags,
            size: SIZE as u64,
            // That of a region that cannot be mapped says nothing.
            offset: if state.mappable { 0 } else { 4096 },
            capabilities: Vec::new(),
        })
    }

    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        if index != IrqIndex(5) {
            return Err(Errno::EINVAL);
        }
        let event = |sub_index, kind, planes| DisplayEvent {
            sub_index,
            kind,
            head: 0,
            planes,
        };
        let events = vec![
            event(0, DisplayEventKind::REFRESH, PlaneMask::PRIMARY),
            event(1, DisplayEventKind::FLIP, PlaneMask::CURSOR),
            event(2, DisplayEventKind::HOTPLUG, PlaneMask::empty()),
        ];
        Ok(IrqInfo {
            index,
            flags: IrqFlags::EVENTFD | IrqFlags::MASKABLE,
            count: 3,
            capabilities: vec![
                IrqCapability::Type(IrqType::GFX_DISPLAY),
                IrqCapability::Display(events),
            ],
        })
    }

    fn set_irqs(&self, request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        let mut state = self.state();
        let IrqData::Eventfds(fds) = request.data else {
            return Err(Errno::EINVAL);
        };
        if state.refuses == Some(request.start) {
            return Err(Errno::EBUSY);
        }
        for (at, fd) in (request.start as usize..).zip(fds) {
            state.bound[at] = fd.map(|fd| fd.try_clone_to_owned().unwrap());
        }
        Ok(IrqSetAnswer::Done)
    }

    fn region_read(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        if index == EDID {
            let state = self.state();
            return Ok(state.edid.as_ref().unwrap().read(offset, data));
        }
        if index == RegionIndex(0) {
            return Ok(rustix::io::pread(&self.file, data, offset)?);
        }
        let memory = self.cursor.lock().unwrap();
        let rest = &memory[usize::try_from(offset).unwrap()..];
        let len = rest.len().min(data.len());
        data[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn region_write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        let mut state = self.state();
        match &mut state.edid {
            Some(edid) if index == EDID => edid.write(offset, data),
            _ => Err(Errno::EINVAL),
        }
    }

    fn reset(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn region_fd(&self, index: RegionIndex) -> Option<BorrowedFd<'_>> {
        (index == RegionIndex(0)).then_some(self.file.as_fd())
    }

    fn probe_gfx(&self, transport: GfxTransport) -> Result<(), Errno> {
        match self.state().transports.contains(&transport) {
            true => Ok(()),
            false => Err(Errno::EINVAL),
        }
    }

    fn gfx_dmabuf(&self, id: DmabufId) -> Result<OwnedFd, Errno> {
        let mut state = self.state();
        state.fetches += 1;
        if id == CURSOR_ID {
            return Ok(sealed(&self.cursor.lock().unwrap()));
        }
        if state.flips_before_fetch > 0 {
            state.flips_before_fetch -= 1;
            state.id += 1;
        }
        match id.0 == state.id {
            true => Ok(self.file.try_clone().unwrap()),
            false => Err(Errno::ENOENT),
        }
    }

    fn query_gfx_plane(
        &self,
        transport: GfxTransport,
        plane: PlaneType,
    ) -> Result<GfxPlaneInfo, Errno> {
        self.probe_gfx(transport)?;
        let mut state = self.state();
        state.queries += 1;
        if state.overtaking > 0 {
            state.overtaking -= 1;
            let refresh = state.bound[REFRESH].as_ref().unwrap();
            rustix::io::write(refresh, &1u64.to_ne_bytes()).unwrap();
        }
        let (shown, id) = match plane {
            PlaneType::PRIMARY => (state.primary, DmabufId(state.id)),
            PlaneType::CURSOR => (state.cursor, CURSOR_ID),
            _ => return Err(Errno::EINVAL),
        };
        let mut info = shown.unwrap_or(GfxPlaneInfo::disabled(plane, transport));
        if transport == GfxTransport::Dmabuf && !info.is_disabled() {
            info.surface = GfxSurface::Dmabuf(id);
        }
        Ok(info)
    }
}

/// A memfd of these bytes that can be mapped.
fn sealed(bytes: &[u8]) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("cursor", flags).unwrap();
    assert_eq!(rustix::io::pwrite(&file, bytes, 0), Ok(bytes.len()));
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    file
}
