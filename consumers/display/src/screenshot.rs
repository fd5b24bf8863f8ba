//! The picture of a device's primary plane.

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxSurface;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionIndex;

use crate::picture::Picture;
use crate::picture::SIDE_MAX;
use crate::pixels::Layout;
use crate::screenshot_error::ScreenshotError;

/// `DRM_FORMAT_MOD_LINEAR`: line by line.
const LINEAR: u64 = 0;

/// Takes the picture that a device shows, line by line with reads of its region, which every device has.
/// The guest may be drawing in it meanwhile.
///
/// # Errors
///
/// See [`ScreenshotError`].
pub fn screenshot(device: &dyn Device) -> Result<Picture, ScreenshotError> {
    device
        .probe_gfx(GfxTransport::Region)
        .map_err(|source| ScreenshotError::Transport { source })?;
    let plane = device
        .query_gfx_plane(GfxTransport::Region, PlaneType::PRIMARY)
        .map_err(|source| ScreenshotError::Query { source })?;
    if plane.is_disabled() {
        return Err(ScreenshotError::Disabled);
    }
    let GfxSurface::Region(region) = plane.surface else {
        return Err(ScreenshotError::Surface);
    };
    read(device, region, &plane)
}

fn read(
    device: &dyn Device,
    region: RegionIndex,
    plane: &GfxPlaneInfo,
) -> Result<Picture, ScreenshotError> {
    let &GfxPlaneInfo {
        width,
        height,
        stride,
        format,
        modifier,
        ..
    } = plane;
    let layout = match Layout::of(format) {
        Some(layout) if modifier == LINEAR => layout,
        _ => return Err(ScreenshotError::Format { format, modifier }),
    };
    let size = ScreenshotError::Size {
        width,
        height,
        stride,
    };
    let len = usize::try_from(width).unwrap_or(usize::MAX);
    let len = len.saturating_mul(layout.bytes());
    let overlap = usize::try_from(stride).is_ok_and(|stride| stride < len);
    if width > SIDE_MAX || height > SIDE_MAX || overlap {
        return Err(size);
    }
    let mut line_of_bytes = vec![0; len];
    // It grows with what the device really has.
    let mut rgb = Vec::new();
    for line in 0..height {
        let offset = u64::from(line) * u64::from(stride);
        let count = device
            .region_read(region, offset, &mut line_of_bytes)
            .map_err(|source| ScreenshotError::Read { line, source })?;
        if count < len {
            return Err(ScreenshotError::Short { line });
        }
        layout.append(&line_of_bytes, &mut rgb);
    }
    Picture::new(width, height, rgb).ok_or(size)
}

#[cfg(test)]
mod tests;
