//! Whether a picture is the same as a dma-buf and in its region.

use irqbroker_display::read_dmabuf;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::Errno;
use irqbroker_vfio::abi::GfxPlaneInfo;
use irqbroker_vfio::abi::GfxSurface;
use irqbroker_vfio::abi::GfxTransport;
use irqbroker_vfio::abi::PlaneType;
use serde::Serialize;

/// How often a picture that changes meanwhile is looked at.
const LOOKS: usize = 8;
/// More than any picture has: a device's word is not taken for how much to read.
const PICTURE_MAX: u32 = 1 << 30;

/// What the comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SamePixels {
    /// Byte by byte.
    Same,
    /// Not at all.
    Different,
    /// The picture never stood still.
    Changing,
}

impl SamePixels {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Same => "same pixels",
            Self::Different => "other pixels",
            Self::Changing => "changing",
        }
    }
}

/// Compares both ways to read a plane. None if the device has no such two, or shows nothing.
pub(super) fn compare(device: &dyn Device, plane: PlaneType) -> Result<Option<SamePixels>, Errno> {
    let transports = [GfxTransport::Region, GfxTransport::Dmabuf];
    if !transports
        .into_iter()
        .all(|transport| device.probe_gfx(transport).is_ok())
    {
        return Ok(None);
    }
    let mut result = SamePixels::Changing;
    for _ in 0..LOOKS {
        let before = in_region(device, plane)?;
        let info = device.query_gfx_plane(GfxTransport::Dmabuf, plane)?;
        let GfxSurface::Dmabuf(id) = info.surface else {
            return Err(Errno::EPROTO);
        };
        if before.is_empty() || info.is_disabled() {
            return Ok(None);
        }
        let dmabuf = device.gfx_dmabuf(id)?;
        let exported = read_dmabuf(std::os::fd::AsFd::as_fd(&dmabuf), len(&info)?)?;
        if in_region(device, plane)? != before {
            continue;
        }
        if exported == before {
            return Ok(Some(SamePixels::Same));
        }
        // Once more: it may have been drawn there and back.
        result = SamePixels::Different;
    }
    Ok(Some(result))
}

/// The whole pages of a picture, read from its region; none of a plane that is disabled.
fn in_region(device: &dyn Device, plane: PlaneType) -> Result<Vec<u8>, Errno> {
    let info = device.query_gfx_plane(GfxTransport::Region, plane)?;
    let GfxSurface::Region(index) = info.surface else {
        return Err(Errno::EPROTO);
    };
    let mut bytes = vec![0; len(&info)?];
    if !bytes.is_empty() && device.region_read(index, 0, &mut bytes)? != bytes.len() {
        return Err(Errno::EIO);
    }
    Ok(bytes)
}

fn len(info: &GfxPlaneInfo) -> Result<usize, Errno> {
    if info.size > PICTURE_MAX {
        return Err(Errno::EOVERFLOW);
    }
    usize::try_from(info.size).map_err(|_| Errno::EOVERFLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use irqbroker::vgpu::Granularity;
    use irqbroker::vgpu::HeadId;
    use irqbroker::vgpu::VblankScheduler;
    use irqbroker::vgpu::VgpuParent;
    use irqbroker::vgpu::VgpuType;

    /// On a host with udmabuf this is the kernel's own dma-buf; on others there is none to compare.
    #[test]
    fn dmabuf_of_a_vgpu_has_the_pixels_of_its_region_where_the_host_makes_one() {
        let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
        let small = VgpuType::find("small").unwrap();
        let device = parent.create_device(&small, None).unwrap();
        let view = device.head_view(HeadId(0)).unwrap();
        assert_eq!(
            compare(&view, PlaneType::PRIMARY),
            Ok(None),
            "nothing is shown"
        );
        let bar = irqbroker_vfio::abi::RegionIndex(2);
        for (word, value) in [(3, 32), (1, 64), (2, 64), (6, 64), (4, 0xc1u16)] {
            let at = 0x500 + 2 * word;
            device.region_write(bar, at, &value.to_le_bytes()).unwrap();
        }
        let pixels: Vec<u8> = (0..64 * 64 * 4u32).map(|at| at.to_le_bytes()[0]).collect();
        let vram = irqbroker_vfio::abi::RegionIndex::BAR0;
        device.region_write(vram, 0, &pixels).unwrap();
        let expected = device
            .probe_gfx(GfxTransport::Dmabuf)
            .is_ok()
            .then_some(SamePixels::Same);
        assert_eq!(compare(&view, PlaneType::PRIMARY), Ok(expected));
    }
}
