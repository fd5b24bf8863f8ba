//! A head as a VFIO device of its own that can be looked at and nothing else.
//!
//! `VFIO_DEVICE_QUERY_GFX_PLANE` knows neither heads nor where in a region a picture begins. So each head
//! is a device with one region, which holds the picture of the latest query from its first byte on.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker::vgpu::HeadId;
use irqbroker::vgpu::Scanout;
use irqbroker::vgpu::VgpuDevice;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::DeviceFlags;
use irqbroker_vfio::abi::DeviceInfo;
use irqbroker_vfio::abi::Errno;
use irqbroker_vfio::abi::GfxPlaneInfo;
use irqbroker_vfio::abi::GfxSurface;
use irqbroker_vfio::abi::GfxTransport;
use irqbroker_vfio::abi::HOTSPOT_UNKNOWN;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::abi::IrqInfo;
use irqbroker_vfio::abi::IrqSet;
use irqbroker_vfio::abi::IrqSetAnswer;
use irqbroker_vfio::abi::PlaneType;
use irqbroker_vfio::abi::RegionFlags;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio::abi::RegionInfo;

/// The only region.
const PICTURE: RegionIndex = RegionIndex(0);
/// What the size of a picture is rounded up to.
const PAGE: u64 = 4096;

/// What a head of a vGPU shows, for one looker-on at a time.
#[derive(Debug)]
pub(super) struct HeadView {
    device: Arc<VgpuDevice>,
    head: HeadId,
    /// Of the latest query. No other lock is taken under it.
    picture: Mutex<Option<Scanout>>,
}

impl HeadView {
    pub(super) fn new(device: Arc<VgpuDevice>, head: HeadId) -> Self {
        Self {
            device,
            head,
            picture: Mutex::new(None),
        }
    }

    fn picture(&self) -> MutexGuard<'_, Option<Scanout>> {
        // It is replaced as a whole.
        self.picture.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of the region that holds a picture.
fn size(picture: Option<Scanout>) -> u64 {
    picture.map_or(0, |picture| picture.len().next_multiple_of(PAGE))
}

impl Device for HeadView {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        Ok(DeviceInfo {
            flags: DeviceFlags::empty(),
            num_regions: 1,
            num_irqs: 0,
            capabilities: Vec::new(),
        })
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Errno> {
        if index != PICTURE {
            return Err(Errno::EINVAL);
        }
        Ok(RegionInfo {
            index,
            flags: RegionFlags::READ,
            size: size(*self.picture()),
            offset: 0,
            capabilities: Vec::new(),
        })
    }

    fn irq_info(&self, _index: IrqIndex) -> Result<IrqInfo, Errno> {
        Err(Errno::EINVAL)
    }

    fn set_irqs(&self, _request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        Err(Errno::EINVAL)
    }

    fn region_read(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        let picture = *self.picture();
        let left = size(picture).checked_sub(offset).filter(|&left| left > 0);
        let (Some(picture), Some(left)) = (picture, left.filter(|_| index == PICTURE)) else {
            return Err(Errno::EINVAL);
        };
        let len = usize::try_from(left).map_or(data.len(), |left| left.min(data.len()));
        // The vGPU cuts what is beyond its memory: the last page may be.
        self.device
            .region_read(RegionIndex::BAR0, picture.offset + offset, &mut data[..len])
    }

    fn region_write(&self, _: RegionIndex, _: u64, _: &[u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn reset(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn probe_gfx(&self, transport: GfxTransport) -> Result<(), Errno> {
        match transport {
            GfxTransport::Region => Ok(()),
            GfxTransport::Dmabuf => Err(Errno::EINVAL),
        }
    }

    fn query_gfx_plane(
        &self,
        transport: GfxTransport,
        plane: PlaneType,
    ) -> Result<GfxPlaneInfo, Errno> {
        self.probe_gfx(transport)?;
        if plane != PlaneType::PRIMARY {
            return Err(Errno::EINVAL);
        }
        let shown = self.device.scanout(self.head);
        *self.picture() = shown;
        let disabled = GfxPlaneInfo::disabled(plane, transport);
        let Some(shown) = shown else {
            return Ok(disabled);
        };
        Ok(GfxPlaneInfo {
            format: shown.format.fourcc(),
            width: shown.width,
            height: shown.height,
            stride: shown.stride,
            size: u32::try_from(size(Some(shown))).map_err(|_| Errno::EOVERFLOW)?,
            x_hot: HOTSPOT_UNKNOWN,
            y_hot: HOTSPOT_UNKNOWN,
            surface: GfxSurface::Region(PICTURE),
            ..disabled
        })
    }
}

#[cfg(test)]
mod tests;
