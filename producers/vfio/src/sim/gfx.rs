//! The planes of a simulated display.

use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxRequest;
use irqbroker_vfio_abi::GfxSurface;
use rustix::fs::MemfdFlags;

use super::state::State;

impl State {
    pub(super) fn query_plane(&self, argument: &mut [u8]) -> Result<u32, Errno> {
        let Some(any) = self.planes.first() else {
            return Err(Errno::ENOTTY);
        };
        let request = GfxRequest::decode(argument)?;
        let (GfxRequest::Probe(transport) | GfxRequest::Query { transport, .. }) = request;
        if any.surface.transport() != transport {
            return Err(Errno::EINVAL);
        }
        let GfxRequest::Query { plane, .. } = request else {
            return Ok(0);
        };
        let mut planes = self.planes.iter();
        let shown = planes.find(|shown| shown.plane == plane);
        let shown = shown.ok_or(Errno::EINVAL)?;
        let argsz = argument.first_chunk().ok_or(Errno::EFAULT)?;
        let answer = shown.encode(u32::from_ne_bytes(*argsz))?;
        argument[..answer.len()].copy_from_slice(&answer);
        Ok(0)
    }

    /// The picture, as a memfd; a dma-buf is one to whom only maps it.
    pub(super) fn dmabuf(&self, id: DmabufId) -> Result<OwnedFd, Errno> {
        if self.planes.is_empty() {
            return Err(Errno::ENOTTY);
        }
        let has = |plane: &&GfxPlaneInfo| plane.surface == GfxSurface::Dmabuf(id);
        let plane = self.planes.iter().find(has).ok_or(Errno::EINVAL)?;
        let picture = rustix::fs::memfd_create("sim-plane", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&picture, u64::from(plane.size))?;
        Ok(picture)
    }
}
