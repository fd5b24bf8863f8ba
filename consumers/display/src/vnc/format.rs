//! How a viewer wants its pixels (RFC 6143 section 7.4).

use super::error::ProtocolError;

/// Bytes of a pixel format on the wire.
pub(super) const SIZE: usize = 16;

/// A checked pixel format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    /// 8, 16 or 32.
    bits: u8,
    /// As it came; at most `bits`.
    depth: u8,
    order: ByteOrder,
    red: Channel,
    green: Channel,
    blue: Channel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

/// Where a color is in a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Channel {
    max: u16,
    shift: u8,
}

impl Channel {
    /// A value of 8 bits, scaled and in its place.
    fn place(self, value: u8) -> u32 {
        let scaled = (u32::from(value) * u32::from(self.max) + 127) / 255;
        scaled << self.shift
    }
}

impl Format {
    /// That of a [`Frame`](crate::Frame): 32 bits, blue first.
    pub(super) const FRAME: Self = Self {
        bits: 32,
        depth: 24,
        order: ByteOrder::Little,
        red: Channel {
            max: 255,
            shift: 16,
        },
        green: Channel { max: 255, shift: 8 },
        blue: Channel { max: 255, shift: 0 },
    };

    /// Reads what a viewer asks for.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::PixelFormat`] if a color does not fit into the pixel;
    /// [`ProtocolError::ColorMap`] if it wants one.
    pub(super) fn decode(bytes: [u8; SIZE]) -> Result<Self, ProtocolError> {
        let [
            bits,
            depth,
            big,
            true_color,
            red_1,
            red_0,
            green_1,
            green_0,
            blue_1,
            blue_0,
            red,
            green,
            blue,
            ..,
        ] = bytes;
        if true_color == 0 {
            return Err(ProtocolError::ColorMap);
        }
        let channel = |high, low, shift| Channel {
            max: u16::from_be_bytes([high, low]),
            shift,
        };
        let format = Self {
            bits,
            depth,
            order: if big == 0 {
                ByteOrder::Little
            } else {
                ByteOrder::Big
            },
            red: channel(red_1, red_0, red),
            green: channel(green_1, green_0, green),
            blue: channel(blue_1, blue_0, blue),
        };
        let fits = |channel: Channel| {
            channel.shift < bits && u64::from(channel.max) << channel.shift < 1 << bits
        };
        let channels = [format.red, format.green, format.blue];
        let valid = matches!(bits, 8 | 16 | 32)
            && (1..=bits).contains(&depth)
            && channels.into_iter().all(fits);
        valid
            .then_some(format)
            .ok_or(ProtocolError::PixelFormat { bits, depth })
    }

    /// As it is on the wire.
    pub(super) fn encode(self) -> [u8; SIZE] {
        let [red_1, red_0] = self.red.max.to_be_bytes();
        let [green_1, green_0] = self.green.max.to_be_bytes();
        let [blue_1, blue_0] = self.blue.max.to_be_bytes();
        [
            self.bits,
            self.depth,
            self.big_endian_flag(),
            1,
            red_1,
            red_0,
            green_1,
            green_0,
            blue_1,
            blue_0,
            self.red.shift,
            self.green.shift,
            self.blue.shift,
            0,
            0,
            0,
        ]
    }

    /// The same, as the library of encodings takes it.
    pub(super) fn of_library(self) -> rfb_encodings::PixelFormat {
        rfb_encodings::PixelFormat {
            bits_per_pixel: self.bits,
            depth: self.depth,
            big_endian_flag: self.big_endian_flag(),
            true_colour_flag: 1,
            red_max: self.red.max,
            green_max: self.green.max,
            blue_max: self.blue.max,
            red_shift: self.red.shift,
            green_shift: self.green.shift,
            blue_shift: self.blue.shift,
        }
    }

    /// Appends the pixels of a line, `0x00rrggbb` each.
    pub(super) fn append(self, line: &[u32], bytes: &mut Vec<u8>) {
        if self == Self::FRAME {
            bytes.extend(line.iter().flat_map(|pixel| pixel.to_le_bytes()));
            return;
        }
        let pixels = line.iter().map(|&pixel| self.pixel(pixel));
        match (self.bits, self.order) {
            // The highest bits are 0: no color goes beyond the pixel.
            (8, _) => bytes.extend(pixels.map(|pixel| pixel.to_le_bytes()[0])),
            (16, ByteOrder::Little) => bytes.extend(pixels.flat_map(|pixel| {
                let [low, high, ..] = pixel.to_le_bytes();
                [low, high]
            })),
            (16, ByteOrder::Big) => bytes.extend(pixels.flat_map(|pixel| {
                let [low, high, ..] = pixel.to_le_bytes();
                [high, low]
            })),
            (_, ByteOrder::Little) => bytes.extend(pixels.flat_map(u32::to_le_bytes)),
            (_, ByteOrder::Big) => bytes.extend(pixels.flat_map(u32::to_be_bytes)),
        }
    }

    /// One pixel as a number.
    pub(super) fn pixel(self, pixel: u32) -> u32 {
        let [_, red, green, blue] = pixel.to_be_bytes();
        self.red.place(red) | self.green.place(green) | self.blue.place(blue)
    }

    fn big_endian_flag(self) -> u8 {
        u8::from(self.order == ByteOrder::Big)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits, depth, big endian, then maximum and shift of each color.
    fn wire(bits: u8, depth: u8, big: u8, max: [u16; 3], shift: [u8; 3]) -> [u8; SIZE] {
        let mut bytes = vec![bits, depth, big, 1];
        bytes.extend(max.iter().flat_map(|max| max.to_be_bytes()));
        bytes.extend(shift);
        bytes.extend([0; 3]);
        bytes.try_into().unwrap()
    }

    fn one_pixel(wire: [u8; SIZE], pixel: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        Format::decode(wire).unwrap().append(&[pixel], &mut bytes);
        bytes
    }

    #[test]
    fn pixels_are_scaled_and_placed_in_the_order_asked_for() {
        let orange = 0x00ff_8000;
        let rgb = [255; 3];
        for (format, expected) in [
            (wire(32, 24, 0, rgb, [16, 8, 0]), vec![0, 0x80, 0xff, 0]),
            (wire(32, 24, 1, rgb, [16, 8, 0]), vec![0, 0xff, 0x80, 0]),
            (wire(32, 24, 0, rgb, [0, 8, 16]), vec![0xff, 0x80, 0, 0]),
            (wire(32, 24, 1, rgb, [24, 16, 8]), vec![0xff, 0x80, 0, 0]),
            // 31 << 11 | 32 << 5
            (wire(16, 16, 0, [31, 63, 31], [11, 5, 0]), vec![0, 0xfc]),
            (wire(16, 16, 1, [31, 63, 31], [11, 5, 0]), vec![0xfc, 0]),
            // 7 | 4 << 3
            (wire(8, 8, 0, [7, 7, 3], [0, 3, 6]), vec![0x27]),
        ] {
            assert_eq!(one_pixel(format, orange), expected, "{format:?}");
        }
    }

    #[test]
    fn white_is_all_ones_of_each_color_and_black_is_0() {
        let format = wire(16, 15, 0, [31, 31, 31], [10, 5, 0]);
        assert_eq!(one_pixel(format, 0x00ff_ffff), [0xff, 0x7f]);
        assert_eq!(one_pixel(format, 0), [0, 0]);
    }

    #[test]
    fn format_reads_back_as_it_was_written() {
        for format in [
            wire(32, 24, 0, [255; 3], [16, 8, 0]),
            wire(16, 16, 1, [31, 63, 31], [11, 5, 0]),
        ] {
            assert_eq!(Format::decode(format).unwrap().encode(), format);
        }
        assert_eq!(Format::decode(Format::FRAME.encode()), Ok(Format::FRAME));
    }

    #[test]
    fn colors_beyond_the_pixel_are_refused() {
        for format in [
            wire(24, 24, 0, [255; 3], [16, 8, 0]),
            wire(0, 0, 0, [0; 3], [0; 3]),
            wire(8, 0, 0, [7, 7, 3], [0, 3, 6]),
            wire(8, 9, 0, [7, 7, 3], [0, 3, 6]),
            wire(8, 8, 0, [7, 7, 7], [0, 3, 6]),
            wire(16, 16, 0, [31, 63, 31], [16, 5, 0]),
            wire(32, 24, 0, [255; 3], [255, 8, 0]),
            wire(32, 24, 0, [u16::MAX; 3], [17, 8, 0]),
        ] {
            let refused = Format::decode(format).unwrap_err();
            assert!(matches!(refused, ProtocolError::PixelFormat { .. }));
        }
        let mut map = wire(8, 8, 0, [7, 7, 3], [0, 3, 6]);
        map[3] = 0;
        assert_eq!(Format::decode(map), Err(ProtocolError::ColorMap));
    }
}
