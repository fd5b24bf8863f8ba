//! The kernel's device behind the trait that all devices share.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;

use crate::device_fd::DeviceFd;
use crate::query;

impl Device for DeviceFd {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        query::device_info(self)
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Errno> {
        query::region_info(self, index)
    }

    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        query::irq_info(self, index)
    }

    fn set_irqs(&self, request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        query::set_irqs(self, request)
    }

    fn region_read(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        let (at, len) = self.window(index)?.place(offset, data.len())?;
        Ok(rustix::io::pread(self, &mut data[..len], at)?)
    }

    fn region_write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        let (at, len) = self.window(index)?.place(offset, data.len())?;
        Ok(rustix::io::pwrite(self, &data[..len], at)?)
    }

    fn reset(&self) -> Result<(), Errno> {
        query::reset(self)
    }

    fn region_fd(&self, index: RegionIndex) -> Option<BorrowedFd<'_>> {
        let window = self.window(index).ok()?;
        window
            .flags
            .contains(RegionFlags::MMAP)
            .then(|| self.as_fd())
    }

    fn probe_gfx(&self, transport: GfxTransport) -> Result<(), Errno> {
        query::probe_gfx(self, transport)
    }

    fn query_gfx_plane(
        &self,
        transport: GfxTransport,
        plane: PlaneType,
    ) -> Result<GfxPlaneInfo, Errno> {
        query::gfx_plane(self, transport, plane)
    }

    fn gfx_dmabuf(&self, id: DmabufId) -> Result<OwnedFd, Errno> {
        self.dmabuf(id.0)
    }
}
