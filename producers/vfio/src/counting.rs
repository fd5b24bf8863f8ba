//! A seam that counts the requests that pass through it.

use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
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

/// Wraps a [`Device`] and counts each kind of request, refused ones included.
#[derive(Debug)]
pub struct CountingDevice<D> {
    device: Arc<D>,
    infos: AtomicU64,
    set_irqs: AtomicU64,
    region_reads: AtomicU64,
    region_writes: AtomicU64,
    resets: AtomicU64,
    planes: AtomicU64,
}

/// Requests counted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestCounts {
    /// `VFIO_DEVICE_GET_INFO`, `GET_REGION_INFO` and `GET_IRQ_INFO`, one each however often the
    /// structure had to be asked for.
    pub infos: u64,
    /// `VFIO_DEVICE_SET_IRQS`.
    pub set_irqs: u64,
    /// Reads of regions.
    pub region_reads: u64,
    /// Writes to regions.
    pub region_writes: u64,
    /// `VFIO_DEVICE_RESET`.
    pub resets: u64,
    /// `VFIO_DEVICE_QUERY_GFX_PLANE` and `GET_GFX_DMABUF`.
    pub planes: u64,
}

impl std::ops::Sub for RequestCounts {
    type Output = Self;

    /// The requests since an earlier count.
    fn sub(self, earlier: Self) -> Self {
        Self {
            infos: self.infos - earlier.infos,
            set_irqs: self.set_irqs - earlier.set_irqs,
            region_reads: self.region_reads - earlier.region_reads,
            region_writes: self.region_writes - earlier.region_writes,
            resets: self.resets - earlier.resets,
            planes: self.planes - earlier.planes,
        }
    }
}

impl<D> CountingDevice<D> {
    /// Starts at zero.
    pub fn new(device: Arc<D>) -> Self {
        Self {
            device,
            infos: AtomicU64::new(0),
            set_irqs: AtomicU64::new(0),
            region_reads: AtomicU64::new(0),
            region_writes: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            planes: AtomicU64::new(0),
        }
    }

    /// What was counted so far.
    pub fn counts(&self) -> RequestCounts {
        // Relaxed: statistics. Whoever compares them has its own order with the requests counted.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RequestCounts {
            infos: read(&self.infos),
            set_irqs: read(&self.set_irqs),
            region_reads: read(&self.region_reads),
            region_writes: read(&self.region_writes),
            resets: read(&self.resets),
            planes: read(&self.planes),
        }
    }

    /// What the requests pass through to.
    pub fn inner(&self) -> &Arc<D> {
        &self.device
    }
}

fn count(counter: &AtomicU64) {
    // Relaxed: statistics, see `counts`.
    counter.fetch_add(1, Ordering::Relaxed);
}

impl<D: Device> Device for CountingDevice<D> {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        count(&self.infos);
        self.device.info()
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Errno> {
        count(&self.infos);
        self.device.region_info(index)
    }

    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        count(&self.infos);
        self.device.irq_info(index)
    }

    fn set_irqs(&self, request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        count(&self.set_irqs);
        self.device.set_irqs(request)
    }

    fn bind_irqs(&self, request: IrqBind) -> Result<IrqSetAnswer, Errno> {
        count(&self.set_irqs);
        self.device.bind_irqs(request)
    }

    fn region_read(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        count(&self.region_reads);
        self.device.region_read(index, offset, data)
    }

    fn region_write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        count(&self.region_writes);
        self.device.region_write(index, offset, data)
    }

    fn reset(&self) -> Result<(), Errno> {
        count(&self.resets);
        self.device.reset()
    }

    fn region_fd(&self, index: RegionIndex) -> Option<BorrowedFd<'_>> {
        self.device.region_fd(index)
    }

    fn probe_gfx(&self, transport: GfxTransport) -> Result<(), Errno> {
        count(&self.planes);
        self.device.probe_gfx(transport)
    }

    fn query_gfx_plane(
        &self,
        transport: GfxTransport,
        plane: PlaneType,
    ) -> Result<GfxPlaneInfo, Errno> {
        count(&self.planes);
        self.device.query_gfx_plane(transport, plane)
    }

    fn gfx_dmabuf(&self, id: DmabufId) -> Result<OwnedFd, Errno> {
        count(&self.planes);
        self.device.gfx_dmabuf(id)
    }

    // Neither this nor the next two are requests of VFIO, so none is counted.
    fn save(&self) -> Result<OwnedFd, Errno> {
        self.device.save()
    }

    fn restore(&self, saved: BorrowedFd<'_>) -> Result<(), Errno> {
        self.device.restore(saved)
    }

    fn resume(&self) {
        self.device.resume();
    }
}
