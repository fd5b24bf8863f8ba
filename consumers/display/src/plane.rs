//! How a plane's picture lies in its surface, once it is known to be one.

use irqbroker_vfio_abi::GfxPlaneInfo;

use crate::picture::SIDE_MAX;
use crate::pixels::Layout;
use crate::screenshot_error::ScreenshotError;

/// `DRM_FORMAT_MOD_LINEAR`: line by line.
const LINEAR: u64 = 0;

/// A plane's picture: lines of a known format that do not overlap, no side beyond [`SIDE_MAX`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane {
    pub(crate) layout: Layout,
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// Bytes from line to line.
    pub(crate) stride: u32,
}

impl Plane {
    /// That of what a device told of an enabled plane.
    pub(crate) fn of(plane: &GfxPlaneInfo) -> Result<Self, ScreenshotError> {
        let &GfxPlaneInfo {
            format,
            modifier,
            width,
            height,
            stride,
            ..
        } = plane;
        let layout = match Layout::of(format) {
            Some(layout) if modifier == LINEAR => layout,
            _ => return Err(ScreenshotError::Format { format, modifier }),
        };
        let side = |side: u32| u16::try_from(side).ok().filter(|_| side <= SIDE_MAX);
        let checked = side(width).zip(side(height)).map(|(width, height)| Self {
            layout,
            width,
            height,
            stride,
        });
        checked
            .filter(|plane| usize::try_from(stride).is_ok_and(|bytes| bytes >= plane.line_len()))
            .ok_or(ScreenshotError::Size {
                width,
                height,
                stride,
            })
    }

    /// Bytes of a line that are shown.
    pub(crate) fn line_len(&self) -> usize {
        usize::from(self.width) * self.layout.bytes()
    }

    /// Where a line begins in the surface, bytes.
    pub(crate) fn line_offset(&self, line: u16) -> u64 {
        u64::from(line) * u64::from(self.stride)
    }

    /// The first line that does not lie within so many bytes, if there is one.
    pub(crate) fn line_beyond(&self, len: u64) -> Option<u16> {
        let line_len = self.line_len() as u64;
        let lines = match len.checked_sub(line_len) {
            // A line is no longer than the stride.
            Some(rest) => rest.checked_div(self.stride.into())? + 1,
            None => 0,
        };
        u16::try_from(lines).ok().filter(|&line| line < self.height)
    }

    /// That no picture has its size.
    pub(crate) fn size_error(&self) -> ScreenshotError {
        ScreenshotError::Size {
            width: self.width.into(),
            height: self.height.into(),
            stride: self.stride,
        }
    }
}
