//! What a head shows, as it is kept for viewers.

/// A picture of 32-bit pixels, `0x00rrggbb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    width: u16,
    height: u16,
    /// Line by line from the top, without gaps.
    pixels: Vec<u32>,
}

impl Frame {
    /// A black one.
    #[must_use]
    pub fn black(width: u16, height: u16) -> Self {
        Self {
            width,
            height,
            pixels: vec![0; usize::from(width) * usize::from(height)],
        }
    }

    /// Pixels.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Lines.
    #[must_use]
    pub const fn height(&self) -> u16 {
        self.height
    }

    /// The pixels of a line; none of one beyond the picture.
    #[must_use]
    pub fn line(&self, y: u16) -> &[u32] {
        let width = usize::from(self.width);
        let at = usize::from(y) * width;
        self.pixels.get(at..at + width).unwrap_or_default()
    }

    /// The pixels of a line within the picture.
    pub(crate) fn line_mut(&mut self, y: u16) -> &mut [u32] {
        let width = usize::from(self.width);
        let at = usize::from(y) * width;
        self.pixels.get_mut(at..at + width).unwrap_or_default()
    }
}
