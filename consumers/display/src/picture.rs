//! A picture in memory, and as a PNG.

use std::io::Cursor;

/// Bytes of a pixel: red, green, blue.
const CHANNELS: usize = 3;

/// The longest side of a picture that is taken or read, pixels: nobody's word is taken for more.
pub const SIDE_MAX: u32 = 16384;

/// What a plane showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    /// Line by line from the top, without gaps.
    rgb: Vec<u8>,
}

/// Why a picture cannot be made a PNG.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode a picture of {width}x{height} as png")]
pub struct EncodeError {
    /// Pixels.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// What was wrong.
    #[source]
    pub source: png::EncodingError,
}

/// Why a PNG cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is none, or it is damaged.
    #[error("cannot decode the png")]
    Png {
        /// What was wrong.
        #[source]
        source: png::DecodingError,
    },
    /// Its pixels are not three bytes of red, green and blue.
    #[error("the png has {color:?} pixels of {depth:?} bits, not rgb of 8")]
    Pixels {
        /// Which channels they have.
        color: png::ColorType,
        /// Bits of a channel.
        depth: png::BitDepth,
    },
    /// A side is beyond [`SIDE_MAX`].
    #[error("a png of {width}x{height} is too large")]
    Size {
        /// Pixels.
        width: u32,
        /// Lines.
        height: u32,
    },
}

impl Picture {
    /// A picture of `rgb`, three bytes a pixel, line by line. None if that is not exactly its size.
    #[must_use]
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Option<Self> {
        let pixels = u64::from(width) * u64::from(height);
        let bytes = pixels.checked_mul(CHANNELS as u64)?;
        (usize::try_from(bytes) == Ok(rgb.len())).then_some(Self { width, height, rgb })
    }

    /// Pixels.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Lines.
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// All pixels, red, green and blue, line by line.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// Red, green and blue of a pixel within the picture.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let pixel = u64::from(y) * u64::from(self.width) + u64::from(x);
        let at = usize::try_from(pixel).ok()? * CHANNELS;
        self.rgb.get(at..at + CHANNELS)?.try_into().ok()
    }

    /// The picture as a PNG, 8 bits a channel.
    ///
    /// # Errors
    ///
    /// It has no pixels.
    pub fn to_png(&self) -> Result<Vec<u8>, EncodeError> {
        self.encode().map_err(|source| EncodeError {
            width: self.width,
            height: self.height,
            source,
        })
    }

    fn encode(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()?;
        Ok(file)
    }

    /// Reads a PNG as [`to_png`](Self::to_png) writes them.
    ///
    /// # Errors
    ///
    /// See [`DecodeError`].
    pub fn from_png(file: &[u8]) -> Result<Self, DecodeError> {
        let png = |source| DecodeError::Png { source };
        let mut reader = png::Decoder::new(Cursor::new(file))
            .read_info()
            .map_err(png)?;
        let (color, depth) = reader.output_color_type();
        if (color, depth) != (png::ColorType::Rgb, png::BitDepth::Eight) {
            return Err(DecodeError::Pixels { color, depth });
        }
        let (width, height) = reader.info().size();
        let size = reader.output_buffer_size();
        let size = size.filter(|_| width.max(height) <= SIDE_MAX);
        let mut rgb = vec![0; size.ok_or(DecodeError::Size { width, height })?];
        let info = reader.next_frame(&mut rgb).map_err(png)?;
        rgb.truncate(info.buffer_size());
        Ok(Self { width, height, rgb })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three by two, each pixel another.
    fn picture() -> Picture {
        Picture::new(3, 2, (0..18).collect()).unwrap()
    }

    #[test]
    fn png_reads_back_as_the_picture_it_was_written_from() {
        let file = picture().to_png().unwrap();
        assert_eq!(Picture::from_png(&file).unwrap(), picture());
    }

    #[test]
    fn pixels_are_counted_from_the_top_left_and_end_at_the_edges() {
        let picture = picture();
        assert_eq!(picture.pixel(0, 0), Some([0, 1, 2]));
        assert_eq!(picture.pixel(2, 1), Some([15, 16, 17]));
        assert_eq!(picture.pixel(3, 0), None);
        assert_eq!(picture.pixel(0, 2), None);
    }

    #[test]
    fn picture_of_another_size_than_its_pixels_is_none() {
        assert_eq!(Picture::new(3, 2, vec![0; 17]), None);
        assert_eq!(Picture::new(u32::MAX, u32::MAX, vec![0; 18]), None);
    }

    #[test]
    fn picture_without_pixels_is_no_png() {
        let empty = Picture::new(0, 0, Vec::new()).unwrap();
        empty.to_png().unwrap_err();
    }

    #[test]
    fn damaged_png_is_refused() {
        let file = picture().to_png().unwrap();
        for len in 0..file.len() - 1 {
            // The end chunk alone may be cut: all pixels are there by then.
            if let Ok(read) = Picture::from_png(&file[..len]) {
                assert_eq!(read, picture());
            }
        }
        Picture::from_png(b"not a png").unwrap_err();
    }
}
