//! A part of a picture.

/// A rectangle of pixels; its far edges may be beyond whatever it is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rect {
    /// Left edge, pixels.
    pub x: u16,
    /// Upper edge, lines.
    pub y: u16,
    /// Pixels.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

impl Rect {
    /// All of a picture.
    #[must_use]
    pub const fn of_size(width: u16, height: u16) -> Self {
        Self {
            x: 0,
            y: 0,
            width,
            height,
        }
    }

    /// Whether it has no pixel.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// What both have; none if that is no pixel.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let x = self.x.max(other.x);
        let y = self.y.max(other.y);
        let both = Self {
            x,
            y,
            width: length(x, self.right().min(other.right())),
            height: length(y, self.bottom().min(other.bottom())),
        };
        (!both.is_empty()).then_some(both)
    }

    /// The smallest that has all of both, cut to what 16 bits can say.
    #[must_use]
    pub fn bounding(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let x = self.x.min(other.x);
        let y = self.y.min(other.y);
        Self {
            x,
            y,
            width: length(x, self.right().max(other.right())),
            height: length(y, self.bottom().max(other.bottom())),
        }
    }

    /// The first pixel that is no more in it.
    pub(crate) fn right(self) -> u32 {
        u32::from(self.x) + u32::from(self.width)
    }

    /// The first line that is no more in it.
    pub(crate) fn bottom(self) -> u32 {
        u32::from(self.y) + u32::from(self.height)
    }
}

/// From an edge to the one across; 0 if that is before it.
fn length(from: u16, to: u32) -> u16 {
    u16::try_from(to.saturating_sub(u32::from(from))).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the whole range, so that edges go beyond it.
    const FAR: Rect = Rect {
        x: u16::MAX,
        y: u16::MAX,
        width: u16::MAX,
        height: u16::MAX,
    };

    #[test]
    fn intersection_is_what_both_have_and_none_without_a_pixel() {
        let left = Rect::of_size(10, 10);
        let right = Rect {
            x: 8,
            y: 4,
            width: 10,
            height: 2,
        };
        let both = Rect { width: 2, ..right };
        assert_eq!(left.intersection(right), Some(both));
        assert_eq!(Rect::of_size(8, 10).intersection(right), None);
        assert_eq!(left.intersection(FAR), None);
    }

    #[test]
    fn bounding_of_far_edges_is_cut_and_of_nothing_is_the_other() {
        let all = Rect::of_size(10, 10).bounding(FAR);
        assert_eq!(all, Rect::of_size(u16::MAX, u16::MAX));
        assert_eq!(Rect::of_size(0, 5).bounding(FAR), FAR);
        assert_eq!(FAR.bounding(Rect::of_size(5, 0)), FAR);
    }
}
