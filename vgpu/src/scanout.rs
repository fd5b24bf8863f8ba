//! Which part of the VRAM a head shows, and how it is to be read.

use serde::Deserialize;
use serde::Serialize;

/// How a pixel lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelFormat {
    /// 32 bits, blue first; the driver's.
    Xrgb8888,
    /// 32 bits, blue last: the same of a guest with the other byte order.
    Bgrx8888,
    /// 24 bits, blue first.
    Rgb888,
    /// 16 bits, 5 for blue, 6 for green, 5 for red.
    Rgb565,
    /// 16 bits, 5 for each.
    Xrgb1555,
}

impl PixelFormat {
    /// Bytes of a pixel.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Xrgb8888 | Self::Bgrx8888 => 4,
            Self::Rgb888 => 3,
            Self::Rgb565 | Self::Xrgb1555 => 2,
        }
    }

    /// The DRM format code (`include/uapi/drm/drm_fourcc.h`).
    #[must_use]
    pub const fn fourcc(self) -> u32 {
        u32::from_le_bytes(*match self {
            Self::Xrgb8888 => b"XR24",
            Self::Bgrx8888 => b"BX24",
            Self::Rgb888 => b"RG24",
            Self::Rgb565 => b"RG16",
            Self::Xrgb1555 => b"XR15",
        })
    }
}

/// A picture in the VRAM. One that a head shows lies within the VRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scanout {
    /// Where its first pixel is in the VRAM, bytes.
    pub offset: u64,
    /// Bytes from one line to the next.
    pub stride: u32,
    /// Pixels.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// What a pixel is.
    pub format: PixelFormat,
}

impl Scanout {
    /// Bytes of a line that are shown.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.width as u64 * self.format.bytes() as u64
    }

    /// Bytes from the first pixel to behind the last one.
    #[must_use]
    pub const fn len(&self) -> u64 {
        match self.height {
            0 => 0,
            // Below 2^32 * 2^32: a stride and a height of 32 bits.
            height => self.stride as u64 * (height as u64 - 1) + self.line(),
        }
    }

    /// Whether it has no pixel.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// Itself, if it has pixels, its lines do not overlap, and it lies within `vram` bytes.
    pub(crate) fn within(self, vram: u64) -> Option<Self> {
        let end = self.offset.checked_add(self.len())?;
        (!self.is_empty() && u64::from(self.stride) >= self.line() && end <= vram).then_some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten lines of ten pixels, 48 bytes apart, 100 bytes into the VRAM.
    const PICTURE: Scanout = Scanout {
        offset: 100,
        stride: 48,
        width: 10,
        height: 10,
        format: PixelFormat::Xrgb8888,
    };

    #[test]
    fn picture_that_ends_with_the_vram_is_within_and_one_byte_less_is_not() {
        // Nine strides and a line of ten pixels.
        assert_eq!(PICTURE.len(), 9 * 48 + 40);
        assert_eq!(PICTURE.within(100 + 472), Some(PICTURE));
        assert_eq!(PICTURE.within(100 + 471), None);
    }

    #[test]
    fn picture_without_pixels_or_with_overlapping_lines_is_not_within() {
        let vram = 1 << 20;
        for (width, height, stride) in [(0, 10, 48), (10, 0, 48), (10, 10, 39)] {
            let picture = Scanout {
                width,
                height,
                stride,
                ..PICTURE
            };
            assert_eq!(picture.within(vram), None);
        }
        assert!(
            Scanout {
                stride: 40,
                ..PICTURE
            }
            .within(vram)
            .is_some()
        );
    }

    #[test]
    fn picture_beyond_all_addresses_is_not_within() {
        let picture = Scanout {
            offset: u64::MAX,
            ..PICTURE
        };
        assert_eq!(picture.within(u64::MAX), None);
    }
}
