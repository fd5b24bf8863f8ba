//! The cursor of a head.

use serde::Deserialize;
use serde::Serialize;

/// A cursor: 64 by 64 pixels of 32 bits with alpha (DRM's `AR24`), lines without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Where its first pixel is in the VRAM, bytes.
    pub offset: u64,
    /// Its left edge on the head, pixels.
    pub x: i16,
    /// Its upper edge on the head, pixels.
    pub y: i16,
    /// The pixel of it that points.
    pub x_hot: u16,
    /// The pixel of it that points.
    pub y_hot: u16,
}

impl Cursor {
    /// Pixels of each edge.
    pub const SIDE: u32 = 64;

    /// Bytes of a line.
    pub const STRIDE: u32 = Self::SIDE * 4;

    /// Bytes of the picture.
    pub const BYTES: u64 = Self::STRIDE as u64 * Self::SIDE as u64;
}
