//! The picture of a device's primary plane.

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxSurface;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionIndex;

use crate::picture::Picture;
use crate::plane::Plane;
use crate::screenshot_error::ScreenshotError;
use crate::source::Source;
use crate::transport_choice::TransportChoice;
use crate::whole_screenshot::Pixels;

/// Takes the picture that a device shows: line by line with reads of its region, or of its dma-buf where it
/// has no region.
///
/// The guest may be drawing in it meanwhile, and flip: [`whole_screenshot`](crate::whole_screenshot) sees to that,
/// where nobody else has bound the device's interrupts.
///
/// # Errors
///
/// See [`ScreenshotError`].
pub fn screenshot(device: &dyn Device) -> Result<Picture, ScreenshotError> {
    let choice = TransportChoice::Any;
    let transport = choice
        .probe(device)
        .map_err(|source| ScreenshotError::Transport { choice, source })?;
    if transport == GfxTransport::Dmabuf {
        let mut pixels = Pixels::default();
        let plane = pixels.read(device, &mut Source::new(transport))?;
        return pixels.picture(&plane);
    }
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
    let shown = Plane::of(plane)?;
    let mut line_of_bytes = vec![0; shown.line_len()];
    // It grows with what the device really has.
    let mut rgb = Vec::new();
    for line in 0..shown.height {
        let count = device
            .region_read(region, shown.line_offset(line), &mut line_of_bytes)
            .map_err(|source| ScreenshotError::Read {
                line: line.into(),
                source,
            })?;
        if count < line_of_bytes.len() {
            return Err(ScreenshotError::Short { line: line.into() });
        }
        shown.layout.append(&line_of_bytes, &mut rgb);
    }
    let size = shown.size_error();
    Picture::new(shown.width.into(), shown.height.into(), rgb).ok_or(size)
}

#[cfg(test)]
mod tests;
