//! A viewer for tests: what it sends, and what it reads. Written from RFC 6143, not from the
//! server; a library's viewer takes part in the server's own tests.

use des::Des;
use des::cipher::BlockCipherEncrypt;
use des::cipher::KeyInit;
use flate2::Decompress;
use flate2::FlushDecompress;

use super::format::Format;
use super::password::CHALLENGE;
use crate::frame::Frame;
use crate::rect::Rect;

/// SetEncodings.
pub(crate) fn encodings(list: &[i32]) -> Vec<u8> {
    let mut bytes = vec![2, 0];
    bytes.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
    bytes.extend(list.iter().flat_map(|encoding| encoding.to_be_bytes()));
    bytes
}

/// FramebufferUpdateRequest.
pub(crate) fn request(incremental: u8, part: Rect) -> Vec<u8> {
    let mut bytes = vec![3, incremental];
    for word in [part.x, part.y, part.width, part.height] {
        bytes.extend(word.to_be_bytes());
    }
    bytes
}

/// SetPixelFormat.
pub(crate) fn pixel_format(
    bits: u8,
    depth: u8,
    big_endian: u8,
    max: [u16; 3],
    shift: [u8; 3],
) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, bits, depth, big_endian, 1];
    bytes.extend(max.iter().flat_map(|max| max.to_be_bytes()));
    bytes.extend(shift);
    bytes.extend([0; 3]);
    bytes
}

/// What somebody answers to a challenge who knows the password.
pub(crate) fn response(password: &str, challenge: [u8; CHALLENGE]) -> [u8; CHALLENGE] {
    let mut key = [0; 8];
    for (key, byte) in key.iter_mut().zip(password.bytes()) {
        *key = byte.reverse_bits();
    }
    let des = Des::new(&key.into());
    let mut response = challenge;
    for block in response.chunks_exact_mut(8) {
        let mut words = <[u8; 8]>::try_from(&*block).unwrap().into();
        des.encrypt_block(&mut words);
        block.copy_from_slice(&words);
    }
    response
}

/// What came of some updates.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Encoding and place of each rectangle of pixels.
    pub(crate) rects: Vec<(i32, Rect)>,
    pixels: Vec<(Rect, Vec<u32>)>,
    /// The size that the viewer knew at each rectangle of pixels.
    pub(crate) at_sizes: Vec<Option<(u16, u16)>>,
    /// Kind and rectangle of each word about the size.
    pub(crate) sizes: Vec<(i32, Rect)>,
    /// Rectangle, pixels and mask.
    pub(crate) cursor: Option<(Rect, Vec<u8>, Vec<u8>)>,
    pub(crate) pointer: Option<(u16, u16)>,
}

impl Received {
    /// The picture, all of which must have come.
    pub(crate) fn frame(&self, width: u16, height: u16) -> Frame {
        let mut frame = Frame::black(width, height);
        self.check(width, height, |_, _| 0xffff_ffff);
        self.put(&mut frame);
        frame
    }

    /// Brings a picture up to what has come.
    pub(crate) fn put(&self, frame: &mut Frame) {
        for (rect, pixels) in &self.pixels {
            let from = usize::from(rect.x);
            let lines = pixels.chunks(rect.width.into());
            for (y, line) in (rect.y..).zip(lines) {
                frame.line_mut(y)[from..from + line.len()].copy_from_slice(line);
            }
        }
    }

    /// Whether each pixel has come, and is what it is expected to be; all ones are anything.
    pub(crate) fn check(&self, width: u16, height: u16, expected: impl Fn(u16, u16) -> u32) {
        let mut seen = vec![false; usize::from(width) * usize::from(height)];
        for (rect, pixels) in &self.pixels {
            for (y, line) in (rect.y..).zip(pixels.chunks(rect.width.into())) {
                for (x, &pixel) in (rect.x..).zip(line) {
                    let expected = expected(x, y);
                    if expected != 0xffff_ffff {
                        assert_eq!(pixel, expected, "at {x}, {y}");
                    }
                    seen[usize::from(y) * usize::from(width) + usize::from(x)] = true;
                }
            }
        }
        assert!(!seen.contains(&false), "not all has come");
    }
}

/// Reads updates; its zlib stream goes on from one to the next.
#[derive(Debug)]
pub(crate) struct Decoder {
    zrle: Decompress,
    /// What it has been told last of the size, but for answers that refuse another.
    pub(crate) size: Option<(u16, u16)>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            zrle: Decompress::new(true),
            size: None,
        }
    }
}

impl Decoder {
    /// Reads whole updates, of pixels in this format.
    pub(super) fn decode(&mut self, bytes: &[u8], format: Format) -> Received {
        let mut received = Received::default();
        let mut input = Input(bytes);
        while !input.0.is_empty() {
            assert_eq!(input.take(2), [0, 0]);
            for _ in 0..input.u16() {
                self.rectangle(&mut input, format, &mut received);
            }
        }
        received
    }

    fn rectangle(&mut self, input: &mut Input<'_>, format: Format, received: &mut Received) {
        let rect = Rect {
            x: input.u16(),
            y: input.u16(),
            width: input.u16(),
            height: input.u16(),
        };
        let area = usize::from(rect.width) * usize::from(rect.height);
        let kind = input.u32().cast_signed();
        let size = usize::from(format.encode()[0] / 8);
        if matches!(kind, 0 | 16) {
            received.at_sizes.push(self.size);
        }
        match kind {
            0 => {
                let pixels = (0..area).map(|_| pixel(input.take(size), format)).collect();
                received.rects.push((kind, rect));
                received.pixels.push((rect, pixels));
            }
            16 => {
                let len = input.u32() as usize;
                let plain = inflate(&mut self.zrle, input.take(len));
                received.rects.push((kind, rect));
                tiles(&mut Input(&plain), rect, format, received);
            }
            -239 => {
                let pixels = input.take(area * size).to_vec();
                let mask = usize::from(rect.width).div_ceil(8) * usize::from(rect.height);
                received.cursor = Some((rect, pixels, input.take(mask).to_vec()));
            }
            -232 => received.pointer = Some((rect.x, rect.y)),
            -223 => {
                self.size = Some((rect.width, rect.height));
                received.sizes.push((kind, rect));
            }
            -308 => {
                let screens = input.take(4)[0];
                let screen = input.take(usize::from(screens) * 16);
                // Id 0 at (0, 0), then its size.
                let mut size = Input(&screen[8..]);
                assert_eq!((size.u16(), size.u16()), (rect.width, rect.height));
                // The status of an answer: of one that is no success viewers heed nothing else.
                if rect.x != 1 || rect.y == 0 {
                    self.size = Some((rect.width, rect.height));
                }
                received.sizes.push((kind, rect));
            }
            kind => panic!("encoding {kind}"),
        }
    }
}

fn inflate(stream: &mut Decompress, input: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(1 << 20);
    let before = stream.total_in();
    stream
        .decompress_vec(input, &mut plain, FlushDecompress::Sync)
        .unwrap();
    assert_eq!(stream.total_in() - before, input.len() as u64);
    plain
}

/// Tiles of ZRLE (RFC 6143 section 7.7.6).
fn tiles(input: &mut Input<'_>, rect: Rect, format: Format, received: &mut Received) {
    for y in (0..rect.height).step_by(64) {
        for x in (0..rect.width).step_by(64) {
            let tile = Rect {
                x: rect.x + x,
                y: rect.y + y,
                width: (rect.width - x).min(64),
                height: (rect.height - y).min(64),
            };
            let area = usize::from(tile.width) * usize::from(tile.height);
            let kind = usize::from(input.take(1)[0]);
            let pixels = match kind {
                0 => (0..area).map(|_| cpixel(input, format)).collect(),
                1 => vec![cpixel(input, format); area],
                2..=16 => {
                    let palette: Vec<u32> = (0..kind).map(|_| cpixel(input, format)).collect();
                    packed(input, tile, &palette)
                }
                128 => run_lengths(area, |input| (cpixel(input, format), true), input),
                130..=255 => {
                    let palette: Vec<u32> = (128..kind).map(|_| cpixel(input, format)).collect();
                    let next = |input: &mut Input<'_>| {
                        let index = input.take(1)[0];
                        (palette[usize::from(index & 0x7f)], index & 0x80 != 0)
                    };
                    run_lengths(area, next, input)
                }
                kind => panic!("tile of kind {kind}"),
            };
            received.pixels.push((tile, pixels));
        }
    }
    assert_eq!(input.0, []);
}

fn packed(input: &mut Input<'_>, tile: Rect, palette: &[u32]) -> Vec<u32> {
    let bits = match palette.len() {
        2 => 1,
        3..=4 => 2,
        _ => 4,
    };
    let width = usize::from(tile.width);
    let mut pixels = Vec::new();
    for _ in 0..tile.height {
        let line = input.take((width * bits).div_ceil(8));
        pixels.extend((0..width).map(|x| {
            let at = x * bits;
            let index = line[at / 8] >> (8 - bits - at % 8) & ((1 << bits) - 1);
            palette[usize::from(index)]
        }));
    }
    pixels
}

fn run_lengths(
    area: usize,
    next: impl Fn(&mut Input<'_>) -> (u32, bool),
    input: &mut Input<'_>,
) -> Vec<u32> {
    let mut pixels = Vec::new();
    while pixels.len() < area {
        let (pixel, is_run) = next(input);
        let len = if is_run { run_length(input) } else { 1 };
        pixels.extend(vec![pixel; len]);
    }
    assert_eq!(pixels.len(), area);
    pixels
}

/// Bytes of 255 and a last one that is less, and one more than their sum.
fn run_length(input: &mut Input<'_>) -> usize {
    let mut len = 1;
    loop {
        let more = input.take(1)[0];
        len += usize::from(more);
        if more != 255 {
            return len;
        }
    }
}

/// A pixel as a number.
fn pixel(bytes: &[u8], format: Format) -> u32 {
    let big_endian = format.encode()[2] == 1;
    let number = |number: u32, &byte: &u8| number << 8 | u32::from(byte);
    if big_endian {
        bytes.iter().fold(0, number)
    } else {
        bytes.iter().rev().fold(0, number)
    }
}

/// A pixel of ZRLE: three bytes where a fourth would say nothing.
fn cpixel(input: &mut Input<'_>, format: Format) -> u32 {
    let wire = format.encode();
    let (bits, depth, big_endian) = (wire[0], wire[1], wire[2] == 1);
    // The most that each color can be, as a pixel.
    let white = format.pixel(0x00ff_ffff);
    if bits != 32 || depth > 24 {
        return pixel(input.take(usize::from(bits / 8)), format);
    }
    let low = white >> 24 == 0;
    let high = white & 0xff == 0;
    assert!(low || high);
    let three = input.take(3);
    let mut four = [0; 4];
    match (low, big_endian) {
        (true, false) | (false, true) => four[..3].copy_from_slice(three),
        _ => four[1..].copy_from_slice(three),
    }
    pixel(&four, format)
}

/// Bytes that are still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }
}
