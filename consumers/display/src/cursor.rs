//! The cursor of a head.

use std::sync::Arc;

/// The longest side of a cursor that is taken, pixels: nobody's word is taken for more.
pub const CURSOR_SIDE_MAX: u16 = 512;

/// How a cursor looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorShape {
    /// Pixels.
    pub width: u16,
    /// Lines.
    pub height: u16,
    /// The pixel that points, within the shape.
    pub x_hot: u16,
    /// The pixel that points, within the shape.
    pub y_hot: u16,
    /// `0xaarrggbb`, line by line from the top, without gaps.
    pub argb: Vec<u32>,
}

/// A cursor that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// How it looks.
    pub shape: Arc<CursorShape>,
    /// Its left edge on the head, pixels; may be beyond it.
    pub x: i32,
    /// Its upper edge on the head, pixels; may be beyond it.
    pub y: i32,
}

impl Cursor {
    /// Where it points on the head, cut to what 16 bits can say.
    #[must_use]
    pub fn points_at(&self) -> (u16, u16) {
        let at = |edge: i32, hot: u16| {
            let at = edge.saturating_add(hot.into()).clamp(0, u16::MAX.into());
            u16::try_from(at).unwrap_or(u16::MAX)
        };
        (at(self.x, self.shape.x_hot), at(self.y, self.shape.y_hot))
    }
}
