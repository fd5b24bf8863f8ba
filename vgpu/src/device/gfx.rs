//! The graphics ioctls: which picture, and where it is.

use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxSurface;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;

use crate::device::VgpuDevice;
use crate::device::gfx_user::GfxUser;
use crate::device::gfx_user::Plane;
use crate::device::gfx_user::Shown;
use crate::device::gfx_user::Window;
use crate::device::state::State;
use crate::device::state::head_id;
use crate::instance::VgpuInstance;

/// How often a picture is exported anew because the VRAM was cleared meanwhile.
const EXPORTS_MAX: usize = 3;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The user of the device, for its first head.
    Device,
    /// The view at that place, for its own.
    View(usize),
}

impl State {
    fn gfx(&mut self, asker: Asker) -> Result<(&mut GfxUser, usize), Errno> {
        match asker {
            Asker::Device => Ok((&mut self.gfx, 0)),
            Asker::View(place) => match self.views.get_mut(place) {
                Some(Some(view)) => Ok((&mut view.gfx, view.head)),
                _ => Err(Errno::ENODEV),
            },
        }
    }

    fn plane(&mut self, instance: &VgpuInstance, head: usize, plane: Plane) -> Option<Shown> {
        match plane {
            Plane::Primary => self.shown(instance, head).map(Shown::from),
            Plane::Cursor => self.registers.cursor(head_id(head)).map(Shown::from),
        }
    }
}

impl VgpuDevice {
    pub(crate) fn probe_transport(&self, transport: GfxTransport) -> Result<(), Errno> {
        match transport {
            GfxTransport::Region => Ok(()),
            GfxTransport::Dmabuf if self.exporter.is_some() => Ok(()),
            GfxTransport::Dmabuf => Err(Errno::EINVAL),
        }
    }

    /// `region` is the asker's region of a plane.
    pub(crate) fn query_plane(
        &self,
        asker: Asker,
        transport: GfxTransport,
        plane_type: PlaneType,
        region: impl Fn(Plane) -> RegionIndex,
    ) -> Result<GfxPlaneInfo, Errno> {
        self.probe_transport(transport)?;
        let plane = Plane::of(plane_type).ok_or(Errno::EINVAL)?;
        let surface = match transport {
            GfxTransport::Dmabuf => return self.query_dmabuf(asker, plane_type, plane),
            GfxTransport::Region => GfxSurface::Region(region(plane)),
        };
        let mut state = self.lock();
        let (_, head) = state.gfx(asker)?;
        let shown = state.plane(&self.instance, head, plane);
        let (user, _) = state.gfx(asker)?;
        user.set_window(plane, shown.map(|shown| shown.window));
        drop(state);
        match shown {
            Some(shown) => shown.describe(plane_type, surface),
            None => Ok(GfxPlaneInfo::disabled(plane_type, transport)),
        }
    }

    fn query_dmabuf(
        &self,
        asker: Asker,
        plane_type: PlaneType,
        plane: Plane,
    ) -> Result<GfxPlaneInfo, Errno> {
        let exporter = self.exporter.as_deref().ok_or(Errno::EINVAL)?;
        for _ in 0..EXPORTS_MAX {
            let mut state = self.lock();
            let cleared = state.cleared;
            let (_, head) = state.gfx(asker)?;
            let shown = state.plane(&self.instance, head, plane);
            let Some(shown) = shown else {
                return Ok(GfxPlaneInfo::disabled(plane_type, GfxTransport::Dmabuf));
            };
            // A dma-buf begins with a page, and a query has no place to say where in it to look.
            if !shown.window.is_aligned() {
                return Err(Errno::EINVAL);
            }
            let (user, _) = state.gfx(asker)?;
            if let Some(id) = user.find(shown.window, cleared) {
                return shown.describe(plane_type, GfxSurface::Dmabuf(id));
            }
            drop(state);
            // With no lock held: the kernel pins all of its pages.
            let Window { offset, size } = shown.window;
            let dmabuf = exporter.export(self.vram.fd(), offset, size)?;
            let mut state = self.lock();
            if state.cleared == cleared {
                let (user, _) = state.gfx(asker)?;
                let id = user.keep(shown.window, cleared, dmabuf);
                return shown.describe(plane_type, GfxSurface::Dmabuf(id));
            }
        }
        Err(Errno::EAGAIN)
    }

    pub(crate) fn fetch_dmabuf(&self, asker: Asker, id: DmabufId) -> Result<OwnedFd, Errno> {
        self.probe_transport(GfxTransport::Dmabuf)?;
        let mut state = self.lock();
        let cleared = state.cleared;
        let (user, _) = state.gfx(asker)?;
        user.fetch(id, cleared)
    }

    /// The region of a plane: its picture from the first byte on, as of the latest query.
    pub(crate) fn window_info(
        &self,
        asker: Asker,
        plane: Plane,
        index: RegionIndex,
    ) -> Result<RegionInfo, Errno> {
        let window = self.window(asker, plane)?;
        let mut flags = RegionFlags::READ;
        flags.set(
            RegionFlags::MMAP,
            window.is_some_and(|window| window.is_aligned()),
        );
        Ok(RegionInfo {
            index,
            flags,
            size: window.map_or(0, |window| window.size),
            // Where it is in the VRAM, whose file is mapped.
            offset: window
                .filter(|_| flags.contains(RegionFlags::MMAP))
                .map_or(0, |window| window.offset),
            capabilities: Vec::new(),
        })
    }

    pub(crate) fn read_window(
        &self,
        asker: Asker,
        plane: Plane,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        let window = self.window(asker, plane)?.ok_or(Errno::EINVAL)?;
        let start = window.offset.checked_add(offset).ok_or(Errno::EINVAL)?;
        // Its last page may end behind the VRAM.
        let end = (window.offset + window.size).min(self.vram.size());
        let left = end.checked_sub(start).filter(|&left| left > 0);
        let left = usize::try_from(left.ok_or(Errno::EINVAL)?).unwrap_or(usize::MAX);
        let len = data.len().min(left);
        self.vram.read(start, &mut data[..len])?;
        Ok(len)
    }

    fn window(&self, asker: Asker, plane: Plane) -> Result<Option<Window>, Errno> {
        let mut state = self.lock();
        let (user, _) = state.gfx(asker)?;
        Ok(user.window(plane))
    }
}
