//! A device while somebody uses it.

use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqBind;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;

use crate::device::DISPLAY;
use crate::device::OpenError;
use crate::device::VgpuDevice;

/// A vGPU that is in use, as an open file of a mediated device is: as long as it is there the
/// device is not destroyed. Dropping it closes the device: what it bound is unbound, and a device that
/// was saved through it runs again.
#[derive(Debug)]
pub struct OpenVgpu {
    device: Arc<VgpuDevice>,
    /// Whether it was saved through this. Relaxed: told from no other memory, and the drop is after all
    /// calls.
    saved: AtomicBool,
}

impl VgpuDevice {
    /// Opens the device for its one user.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(self: &Arc<Self>) -> Result<OpenVgpu, OpenError> {
        self.begin_use()?;
        Ok(OpenVgpu {
            device: Arc::clone(self),
            saved: AtomicBool::new(false),
        })
    }
}

impl OpenVgpu {
    /// The device.
    #[must_use]
    pub const fn device(&self) -> &Arc<VgpuDevice> {
        &self.device
    }
}

impl Drop for OpenVgpu {
    fn drop(&mut self) {
        for index in [IrqIndex::MSIX, DISPLAY, IrqIndex::ERR, IrqIndex::REQ] {
            // One that is not enabled cannot be disabled, and need not.
            let _ = self.device.set_irqs(&IrqSet::disable(index));
        }
        if *self.saved.get_mut() {
            self.device.resume();
        }
        self.device.end_use();
    }
}

impl Device for OpenVgpu {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        self.device.info()
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Errno> {
        self.device.region_info(index)
    }

    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        self.device.irq_info(index)
    }

    fn set_irqs(&self, request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        self.device.set_irqs(request)
    }

    fn bind_irqs(&self, request: IrqBind) -> Result<IrqSetAnswer, Errno> {
        self.device.bind_irqs(request)
    }

    fn region_read(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        self.device.region_read(index, offset, data)
    }

    fn region_write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        self.device.region_write(index, offset, data)
    }

    fn reset(&self) -> Result<(), Errno> {
        self.device.reset()?;
        self.saved.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn region_fd(&self, index: RegionIndex) -> Option<BorrowedFd<'_>> {
        self.device.region_fd(index)
    }

    fn probe_gfx(&self, transport: GfxTransport) -> Result<(), Errno> {
        self.device.probe_gfx(transport)
    }

    fn query_gfx_plane(
        &self,
        transport: GfxTransport,
        plane: PlaneType,
    ) -> Result<GfxPlaneInfo, Errno> {
        self.device.query_gfx_plane(transport, plane)
    }

    fn gfx_dmabuf(&self, id: DmabufId) -> Result<OwnedFd, Errno> {
        self.device.gfx_dmabuf(id)
    }

    fn save(&self) -> Result<OwnedFd, Errno> {
        let saved = self.device.save()?;
        self.saved.store(true, Ordering::Relaxed);
        Ok(saved)
    }

    fn restore(&self, saved: BorrowedFd<'_>) -> Result<(), Errno> {
        self.device.restore(saved)?;
        self.saved.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn resume(&self) {
        self.saved.store(false, Ordering::Relaxed);
        self.device.resume();
    }
}
