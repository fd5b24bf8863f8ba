//! A VFIO device, whoever implements it.

use std::fmt::Debug;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use crate::device_info::DeviceInfo;
use crate::errno::Errno;
use crate::gfx::DmabufId;
use crate::gfx::GfxPlaneInfo;
use crate::gfx::GfxTransport;
use crate::gfx::PlaneType;
use crate::index::IrqIndex;
use crate::index::RegionIndex;
use crate::irq_bind::IrqBind;
use crate::irq_info::IrqInfo;
use crate::irq_set::IrqSet;
use crate::region_info::RegionInfo;

/// What every driver answers to an ioctl it does not have: the graphics ioctls on a device that
/// shows nothing, both PCI hot-reset ioctls on everything but vfio-pci.
pub const UNSUPPORTED_REQUEST: Errno = Errno::ENOTTY;

/// A successful answer to [`Device::set_irqs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IrqSetAnswer {
    /// It is done.
    Done,
    /// MSI or MSI-X was to be enabled with more vectors than the host has; it has this many, and
    /// nothing was done. The kernel answers it as a positive number.
    Fewer(u32),
}

/// A VFIO device: the kernel's, a simulator, a peer over a socket, or a vGPU of this process.
///
/// Errors are those the kernel has for the same request; from a peer that answers nonsense they
/// are EPROTO. A request that fails has changed nothing, with one exception: eventfds bound by
/// the same [`Device::set_irqs`] or [`Device::bind_irqs`] to sub-indexes before the one that failed are unbound.
pub trait Device: Debug + Send + Sync {
    /// What it is.
    ///
    /// # Errors
    ///
    /// Those of `VFIO_DEVICE_GET_INFO`.
    fn info(&self) -> Result<DeviceInfo, Errno>;

    /// What a region is. One that is absent but has a number has size 0.
    ///
    /// # Errors
    ///
    /// EINVAL for an index it does not have.
    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Errno>;

    /// What an interrupt index is. One that is absent but has a number has no sub-index.
    ///
    /// # Errors
    ///
    /// EINVAL for an index it does not have.
    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno>;

    /// Binds, masks, unmasks or fires interrupts.
    ///
    /// # Errors
    ///
    /// EINVAL and ENOTTY as [`IrqSetHeader::validate`](crate::IrqSetHeader::validate) and the
    /// rules of the index say; EBADF, EINVAL and EBUSY for the eventfds.
    fn set_irqs(&self, request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno>;

    /// [`set_irqs`](Self::set_irqs) with eventfds that the device may keep. The default lends them,
    /// which is all that one outside this process can use.
    ///
    /// # Errors
    ///
    /// As those of `set_irqs`. The eventfds that are not bound then are closed.
    fn bind_irqs(&self, request: IrqBind) -> Result<IrqSetAnswer, Errno> {
        request.lend(|request| self.set_irqs(request))
    }

    /// Reads from a region, and returns how many bytes that were.
    ///
    /// # Errors
    ///
    /// EINVAL beyond the region or for an index it does not have.
    fn region_read(&self, index: RegionIndex, offset: u64, data: &mut [u8])
    -> Result<usize, Errno>;

    /// Writes to a region, and returns how many bytes that were.
    ///
    /// # Errors
    ///
    /// EINVAL beyond the region or for an index it does not have.
    fn region_write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> Result<usize, Errno>;

    /// Resets it. One that was [saved](Self::save) runs again, as migration ends with a reset in VFIO.
    ///
    /// # Errors
    ///
    /// EINVAL if it cannot be reset ([`DeviceFlags::RESET`](crate::DeviceFlags::RESET) is not
    /// set).
    fn reset(&self) -> Result<(), Errno>;

    /// The file that a region is mapped from, at [`RegionInfo::offset`], if it can be mapped: the
    /// device's own file for a device of the kernel's, one for the region from a peer.
    fn region_fd(&self, index: RegionIndex) -> Option<BorrowedFd<'_>> {
        let _ = index;
        None
    }

    /// Whether it hands out pictures in this way.
    ///
    /// # Errors
    ///
    /// EINVAL if it does so in another, ENOTTY if it shows nothing.
    fn probe_gfx(&self, transport: GfxTransport) -> Result<(), Errno> {
        let _ = transport;
        Err(UNSUPPORTED_REQUEST)
    }

    /// What a plane shows now. A disabled plane is a success.
    ///
    /// # Errors
    ///
    /// EINVAL if there is no such plane or transport, ENOTTY if the device shows nothing.
    fn query_gfx_plane(
        &self,
        transport: GfxTransport,
        plane: PlaneType,
    ) -> Result<GfxPlaneInfo, Errno> {
        let _ = (transport, plane);
        Err(UNSUPPORTED_REQUEST)
    }

    /// The dma-buf of a picture that [`query_gfx_plane`](Self::query_gfx_plane) told of.
    ///
    /// # Errors
    ///
    /// EINVAL or ENOENT, by driver, if the picture is gone; ENOTTY if the device shows nothing.
    fn gfx_dmabuf(&self, id: DmabufId) -> Result<OwnedFd, Errno> {
        let _ = id;
        Err(UNSUPPORTED_REQUEST)
    }

    /// Stops it and hands out all it is, as a sealed memfd: to be restored in another process, or in
    /// this one if the move comes to nothing. Until then it stays stopped, unless it is
    /// [reset](Self::reset) or [resumed](Self::resume). Not of VFIO, whose migration is a stream.
    ///
    /// # Errors
    ///
    /// ENOTTY if it cannot be saved; those of the host's memory. It goes on.
    fn save(&self) -> Result<OwnedFd, Errno> {
        Err(UNSUPPORTED_REQUEST)
    }

    /// Becomes what [`save`](Self::save) handed out of a device like it, and goes on from there.
    /// Eventfds and mappings are as they are here.
    ///
    /// # Errors
    ///
    /// ENOTTY if it cannot be restored, EINVAL if the file is of no device like it.
    fn restore(&self, saved: BorrowedFd<'_>) -> Result<(), Errno> {
        let _ = saved;
        Err(UNSUPPORTED_REQUEST)
    }

    /// Goes on as it is after a [`save`](Self::save), because whoever saved it is gone. One that runs is
    /// left alone, and so is one that is not of this process: where it is served, that is seen there.
    fn resume(&self) {}
}
