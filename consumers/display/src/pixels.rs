//! Pixels of a plane, by their DRM format, as red, green and blue.

/// How a pixel lies in memory (`include/uapi/drm/drm_fourcc.h`). Alpha of a primary plane has nothing below
/// it to let through, and is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// XRGB8888, ARGB8888: blue, green, red, unused.
    BlueFirst32,
    /// XBGR8888, ABGR8888: red, green, blue, unused.
    RedFirst32,
    /// BGRX8888: unused, red, green, blue.
    BlueLast32,
    /// RGB888: blue, green, red.
    BlueFirst24,
    /// RGB565.
    Rgb565,
    /// XRGB1555.
    Rgb555,
}

impl Layout {
    /// Bytes of the largest pixel.
    pub(crate) const BYTES_MAX: usize = 4;

    /// That of a DRM format, if it is known.
    pub(crate) fn of(fourcc: u32) -> Option<Self> {
        Some(match &fourcc.to_le_bytes() {
            b"XR24" | b"AR24" => Self::BlueFirst32,
            b"XB24" | b"AB24" => Self::RedFirst32,
            b"BX24" => Self::BlueLast32,
            b"RG24" => Self::BlueFirst24,
            b"RG16" => Self::Rgb565,
            b"XR15" => Self::Rgb555,
            _ => return None,
        })
    }

    /// Bytes of a pixel.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::BlueFirst32 | Self::RedFirst32 | Self::BlueLast32 => 4,
            Self::BlueFirst24 => 3,
            Self::Rgb565 | Self::Rgb555 => 2,
        }
    }

    /// Appends the pixels of a line; a part of a pixel at its end is left out.
    pub(crate) fn append(self, line: &[u8], rgb: &mut Vec<u8>) {
        let pixels = line.chunks_exact(self.bytes());
        rgb.extend(pixels.flat_map(|pixel| self.rgb(pixel)));
    }

    /// Writes the pixels of a line as `0x00rrggbb`, as many as both have.
    #[inline]
    pub(crate) fn words(self, line: &[u8], words: &mut [u32]) {
        // The common one apart, where the compiler finds that it is a mask.
        if self == Self::BlueFirst32 {
            for (word, pixel) in words.iter_mut().zip(line.as_chunks::<4>().0) {
                *word = u32::from_le_bytes(*pixel) & 0x00ff_ffff;
            }
            return;
        }
        for (word, pixel) in words.iter_mut().zip(line.chunks_exact(self.bytes())) {
            let [red, green, blue] = self.rgb(pixel);
            *word = u32::from_be_bytes([0, red, green, blue]);
        }
    }

    fn rgb(self, pixel: &[u8]) -> [u8; 3] {
        match (self, pixel) {
            (Self::BlueFirst32, &[blue, green, red, _])
            | (Self::RedFirst32, &[red, green, blue, _])
            | (Self::BlueLast32, &[_, red, green, blue])
            | (Self::BlueFirst24, &[blue, green, red]) => [red, green, blue],
            (Self::Rgb565, &[low, high]) => {
                let word = u16::from_le_bytes([low, high]);
                [five(word >> 11), six(word >> 5), five(word)]
            }
            (Self::Rgb555, &[low, high]) => {
                let word = u16::from_le_bytes([low, high]);
                [five(word >> 10), five(word >> 5), five(word)]
            }
            // Only whole pixels come here.
            _ => [0; 3],
        }
    }
}

/// The lowest five bits as eight: all ones stay all ones.
fn five(word: u16) -> u8 {
    let [low, _] = (word & 0x1f).to_le_bytes();
    low << 3 | low >> 2
}

/// The lowest six bits as eight.
fn six(word: u16) -> u8 {
    let [low, _] = (word & 0x3f).to_le_bytes();
    low << 2 | low >> 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one pixel of a line in this format.
    fn pixel(fourcc: &[u8; 4], line: &[u8]) -> Vec<u8> {
        let mut rgb = Vec::new();
        let layout = Layout::of(u32::from_le_bytes(*fourcc)).unwrap();
        layout.append(line, &mut rgb);
        rgb
    }

    #[test]
    fn bytes_of_each_format_are_told_apart() {
        assert_eq!(pixel(b"XR24", &[3, 2, 1, 9]), [1, 2, 3]);
        assert_eq!(pixel(b"AR24", &[3, 2, 1, 9]), [1, 2, 3]);
        assert_eq!(pixel(b"XB24", &[1, 2, 3, 9]), [1, 2, 3]);
        assert_eq!(pixel(b"BX24", &[9, 1, 2, 3]), [1, 2, 3]);
        assert_eq!(pixel(b"RG24", &[3, 2, 1]), [1, 2, 3]);
    }

    #[test]
    fn words_are_the_pixels_of_append_in_one_number_each() {
        let line: Vec<u8> = (1..=24).collect();
        for fourcc in [b"XR24", b"AB24", b"BX24", b"RG24", b"RG16", b"XR15"] {
            let layout = Layout::of(u32::from_le_bytes(*fourcc)).unwrap();
            let mut words = vec![u32::MAX; line.len() / layout.bytes()];
            layout.words(&line, &mut words);

            let rgb: Vec<u8> = words
                .iter()
                .flat_map(|word| word.to_be_bytes()[1..].to_vec())
                .collect();
            assert_eq!(rgb, pixel(fourcc, &line));
            assert!(words.iter().all(|&word| word <= 0x00ff_ffff));
        }
    }

    #[test]
    fn five_and_six_bits_reach_from_0_to_255() {
        assert_eq!(
            pixel(b"RG16", &[0xff, 0xff, 0, 0]),
            [255, 255, 255, 0, 0, 0]
        );
        assert_eq!(pixel(b"RG16", &0xf800u16.to_le_bytes()), [255, 0, 0]);
        assert_eq!(pixel(b"RG16", &0x07e0u16.to_le_bytes()), [0, 255, 0]);
        assert_eq!(pixel(b"XR15", &0x7c00u16.to_le_bytes()), [255, 0, 0]);
        assert_eq!(pixel(b"XR15", &0x83e0u16.to_le_bytes()), [0, 255, 0]);
        assert_eq!(pixel(b"XR15", &0x0010u16.to_le_bytes()), [0, 0, 132]);
    }

    #[test]
    fn part_of_a_pixel_is_left_out_and_an_unknown_format_has_no_layout() {
        assert_eq!(pixel(b"RG24", &[3, 2, 1, 7]), [1, 2, 3]);
        assert_eq!(Layout::of(u32::from_le_bytes(*b"NV12")), None);
        assert_eq!(Layout::of(0), None);
    }
}
