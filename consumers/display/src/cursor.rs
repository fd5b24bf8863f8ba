//! The cursor of a head.

use std::sync::Arc;

use crate::rect::Rect;

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
    /// The part of a head it lies on; none beyond the edges of any.
    pub(crate) fn covers(&self) -> Option<Rect> {
        let side = |edge: i32, len: u16| {
            let first = u16::try_from(edge.max(0)).ok()?;
            let end = edge.saturating_add(len.into());
            let len = u16::try_from(end.saturating_sub(first.into())).ok()?;
            (len > 0).then_some((first, len))
        };
        let (x, width) = side(self.x, self.shape.width)?;
        let (y, height) = side(self.y, self.shape.height)?;
        Some(Rect {
            x,
            y,
            width,
            height,
        })
    }

    /// What it has on a line of the head, and where that begins.
    pub(crate) fn line(&self, y: u16) -> Option<(i32, &[u32])> {
        let line = i32::from(y).checked_sub(self.y)?;
        let line = usize::try_from(line).ok()?;
        let width = usize::from(self.shape.width);
        let mut lines = self.shape.argb.chunks(width.max(1));
        Some((self.x, lines.nth(line)?))
    }

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
