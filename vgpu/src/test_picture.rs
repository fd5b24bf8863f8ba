//! The test card: a picture that is a function of the frame number, and its judge.
//!
//! ```text
//!  ┌────────────────────────────┐  strip: the frame number, 32 cells from the highest bit on,
//!  ├───┬───┬───┬───┬───┬───┬────┤         a white cell before and a black one behind them
//!  │   │   │ ┃ │000042 │   │    │  colour bars, the frame number in digits
//!  ├───┴───┴─┃─┴───┴───┴───┴────┤
//!  │ / / / / ┃ / / / / / / / / /│  diagonal stripes, moving to the left
//!  │░░░▒▒▒▒▒▒┃▒▒▒▓▓▓▓▓▓▓▓███████│  grey ramp
//!  │▀▄▀▄▀▄▀▄▀┃▀▄▀▄▀▄▀▄▀▄▀▄▀▄▀▄▀▄│  squares
//!  ├─────────┸──────────────────┤
//!  └────────────────────────────┘  the strip again
//! ```
//!
//! A bar as high as all between the strips moves to the right by the same step each frame. Where a
//! picture is torn the bar breaks; where frames are lost or shown twice it stutters.

use std::ops::Range;

/// A pixel: blue, green, red and nothing, as DRM's `XR24` has it.
pub type TestPixel = [u8; 4];

const WHITE: TestPixel = [0xff, 0xff, 0xff, 0];
const BLACK: TestPixel = [0, 0, 0, 0];
/// White, yellow, cyan, green, magenta, red and blue at three quarters.
const BARS: [TestPixel; 7] = [
    [0xbf, 0xbf, 0xbf, 0],
    [0x00, 0xbf, 0xbf, 0],
    [0xbf, 0xbf, 0x00, 0],
    [0x00, 0xbf, 0x00, 0],
    [0xbf, 0x00, 0xbf, 0],
    [0x00, 0x00, 0xbf, 0],
    [0xbf, 0x00, 0x00, 0],
];
const STRIPES: [TestPixel; 2] = [[0x18, 0x9a, 0xf4, 0], [0x50, 0x2c, 0x1c, 0]];
const SQUARES: [TestPixel; 2] = [[0x30, 0x30, 0x30, 0], [0xd8, 0xd8, 0xd8, 0]];

/// Digits as three by five dots, the upper left one in the highest of 15 bits.
const DIGITS: [u16; 10] = [
    0b111_101_101_101_111,
    0b010_110_010_010_111,
    0b111_001_111_100_111,
    0b111_001_111_001_111,
    0b101_101_111_001_001,
    0b111_100_111_001_111,
    0b111_100_111_101_111,
    0b111_001_010_010_010,
    0b111_101_111_101_111,
    0b111_101_111_001_111,
];
/// Digits that are shown: 38 hours at 60 Hz.
const PLACES: u32 = 7;
/// Dots from one digit to the next.
const ADVANCE: u32 = 4;
/// Dots of the box around the digits, each way.
const BOX: (u32, u32) = (PLACES * ADVANCE + 1, 7);

/// Cells of a strip: a white one, the bits, a black one.
const CELLS: u32 = 34;

/// The test card of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestPicture {
    width: u32,
    height: u32,
}

/// What the strips of a picture say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TestReading {
    /// Both say the same frame, of which these are the lower 32 bits.
    Frame(u32),
    /// The upper part is of one frame, the lower of another.
    Torn {
        /// What the upper strip says.
        upper: u32,
        /// What the lower strip says.
        lower: u32,
    },
    /// It is no test card of this size.
    Foreign,
}

/// A part of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) columns: Range<u32>,
    pub(crate) lines: Range<u32>,
}

impl TestPicture {
    /// The least size: below it the strips have no room.
    pub const MIN: (u32, u32) = (64, 64);

    /// The card of this size, pixels and lines; `None` below [`MIN`](Self::MIN).
    #[must_use]
    pub const fn new(width: u32, height: u32) -> Option<Self> {
        if width < Self::MIN.0 || height < Self::MIN.1 {
            return None;
        }
        Some(Self { width, height })
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

    /// A pixel of a frame; the picture goes on beyond its edges in some way.
    #[must_use]
    pub fn pixel(&self, frame: u64, x: u32, y: u32) -> TestPixel {
        if self.is_strip(y) {
            return self.strip_pixel(frame, x);
        }
        if let Some(pixel) = self.digit_pixel(frame, x, y) {
            return pixel;
        }
        let bar = self.bar(frame);
        if bar.contains(&x) {
            return bar_pixel(&bar, x);
        }
        self.background(frame, x, y)
    }

    /// A pixel between the strips that neither the digits nor the bar are before.
    fn background(&self, frame: u64, x: u32, y: u32) -> TestPixel {
        match y.saturating_sub(self.between_strips().start) {
            line if line < self.sixteenths(9) => BARS[self.seventh(x)],
            line if line < self.sixteenths(10) => {
                let along = u64::from(x) + u64::from(y) + frame % 64 * 4;
                STRIPES[usize::from(along / 32 % 2 == 1)]
            }
            line if line < self.sixteenths(12) => {
                let grey = u64::from(x) * 255 / u64::from(self.width - 1).max(1);
                let grey = u8::try_from(grey).unwrap_or(u8::MAX);
                [grey, grey, grey, 0]
            }
            _ => SQUARES[usize::from((x / 16 + y / 16) % 2 == 1)],
        }
    }

    /// Reads the strips of a picture through `pixel`, which is asked for the middle of each cell and
    /// gives blue, green and red; any more is not looked at.
    pub fn read(&self, pixel: impl Fn(u32, u32) -> TestPixel) -> TestReading {
        let strip = |line| {
            let cell = |cell: u32| {
                let middle = (self.edge(cell) + self.edge(cell + 1)) / 2;
                let [blue, green, red, _] = pixel(middle, line);
                // Far from either end for a format of fewer bits.
                match u16::from(blue) + u16::from(green) + u16::from(red) {
                    0..96 => Some(0),
                    672.. => Some(1),
                    _ => None,
                }
            };
            let bits = (1..=32).try_fold(0, |bits, place| Some(bits << 1 | cell(place)?))?;
            (cell(0) == Some(1) && cell(33) == Some(0)).then_some(bits)
        };
        match (strip(0), strip(self.height - 1)) {
            (Some(upper), Some(lower)) if upper == lower => TestReading::Frame(upper),
            (Some(upper), Some(lower)) => TestReading::Torn { upper, lower },
            _ => TestReading::Foreign,
        }
    }

    /// The bytes of a part of one line.
    pub(crate) fn line(&self, frame: u64, columns: Range<u32>, y: u32, bytes: &mut Vec<u8>) {
        bytes.reserve(columns.len() * size_of::<TestPixel>());
        if self.is_strip(y) {
            bytes.extend(columns.flat_map(|x| self.strip_pixel(frame, x)));
            return;
        }
        // What `pixel` asks for each is asked once here.
        let bar = self.bar(frame);
        let (left, _, dot) = self.digits();
        let digits = left..left + BOX.0 * dot;
        bytes.extend(columns.flat_map(|x| {
            let digit = match digits.contains(&x) {
                true => self.digit_pixel(frame, x, y),
                false => None,
            };
            match digit {
                Some(pixel) => pixel,
                None if bar.contains(&x) => bar_pixel(&bar, x),
                None => self.background(frame, x, y),
            }
        }));
    }

    /// Whether a line belongs to one of the strips.
    fn is_strip(&self, y: u32) -> bool {
        !self.between_strips().contains(&y)
    }

    /// A number that two lines have in common only if they are the same in every frame.
    pub(crate) fn band(&self, y: u32) -> u32 {
        if self.is_strip(y) {
            return 0;
        }
        let (_, top, dot) = self.digits();
        match y.saturating_sub(self.between_strips().start) {
            line if line < self.sixteenths(9) => match y.checked_sub(top).map(|line| line / dot) {
                // Behind the strip, and before the rows of squares are counted.
                Some(row) if row < BOX.1 => 1 + row,
                _ => 1 + BOX.1,
            },
            line if line < self.sixteenths(10) => u32::MAX - y,
            line if line < self.sixteenths(12) => 2 + BOX.1,
            _ => 3 + BOX.1 + y / 16,
        }
    }

    /// All of it.
    pub(crate) const fn whole(&self) -> Part {
        Part {
            columns: 0..self.width,
            lines: 0..self.height,
        }
    }

    /// Where two frames may differ.
    pub(crate) fn changes(&self, before: u64, after: u64) -> Vec<Part> {
        let between = self.between_strips();
        let across = |lines| Part {
            columns: 0..self.width,
            lines,
        };
        let part = |columns| Part {
            columns,
            lines: between.clone(),
        };
        let stripes = between.start + self.sixteenths(9)..between.start + self.sixteenths(10);
        let (left, top, dot) = self.digits();
        let digits = Part {
            columns: left..left + BOX.0 * dot,
            lines: top..top + BOX.1 * dot,
        };
        let (from, to) = (self.bar(before), self.bar(after));
        let (bar, other) = match from.start.max(to.start) <= from.end.min(to.end) {
            true => (from.start.min(to.start)..from.end.max(to.end), None),
            false => (from, Some(to)),
        };
        let others = [
            across(0..between.start),
            digits,
            across(stripes),
            across(between.end..self.height),
        ];
        let bars = [Some(bar), other].into_iter().flatten();
        others.into_iter().chain(bars.map(part)).collect()
    }

    /// The lines between the two strips.
    fn between_strips(&self) -> Range<u32> {
        let strip = self.sixteenths(1);
        strip..self.height - strip
    }

    const fn sixteenths(&self, count: u32) -> u32 {
        self.height / 16 * count
    }

    fn seventh(&self, x: u32) -> usize {
        let seventh = u64::from(x) * 7 / u64::from(self.width);
        usize::try_from(seventh).unwrap_or(0).min(6)
    }

    /// Where the moving bar is; it comes to the end of its way and begins anew.
    fn bar(&self, frame: u64) -> Range<u32> {
        let thickness = (self.width / 80).max(4);
        let step = u64::from((self.width / 240).max(1));
        let way = u64::from(self.width - thickness);
        let left = frame.wrapping_mul(step) % way;
        let left = u32::try_from(left).unwrap_or(0);
        left..left + thickness
    }

    /// Where a cell of a strip begins.
    fn edge(&self, cell: u32) -> u32 {
        let edge = u64::from(cell) * u64::from(self.width) / u64::from(CELLS);
        u32::try_from(edge).unwrap_or(u32::MAX)
    }

    fn strip_pixel(&self, frame: u64, x: u32) -> TestPixel {
        let cell = (u64::from(x) + 1) * u64::from(CELLS) - 1;
        let lit = match cell / u64::from(self.width) {
            0 => true,
            place @ 1..=32 => frame >> (32 - place) & 1 == 1,
            _ => false,
        };
        if lit { WHITE } else { BLACK }
    }

    /// The left and upper edge of the digits' box, and pixels of a dot.
    fn digits(&self) -> (u32, u32, u32) {
        let dot = (self.height / 64).min(self.width / 40).max(1);
        let left = (self.width - BOX.0 * dot) / 2;
        let top = self.between_strips().start + self.sixteenths(3);
        (left, top, dot)
    }

    fn digit_pixel(&self, frame: u64, x: u32, y: u32) -> Option<TestPixel> {
        let (left, top, dot) = self.digits();
        let column = x.checked_sub(left)? / dot;
        let line = y.checked_sub(top)? / dot;
        if column >= BOX.0 || line >= BOX.1 {
            return None;
        }
        let lit = || {
            let (column, line) = (column.checked_sub(1)?, line.checked_sub(1)?);
            let (place, dot) = (column / ADVANCE, column % ADVANCE);
            if place >= PLACES || dot >= 3 || line >= 5 {
                return None;
            }
            let digit = frame / 10u64.pow(PLACES - 1 - place) % 10;
            let dots = DIGITS[usize::try_from(digit).ok()?];
            (dots >> (14 - line * 3 - dot) & 1 == 1).then_some(WHITE)
        };
        Some(lit().unwrap_or(BLACK))
    }
}

/// White with dark edges, so that it is seen on white too.
fn bar_pixel(bar: &Range<u32>, x: u32) -> TestPixel {
    let edge = x == bar.start || x + 1 == bar.end;
    if edge { BLACK } else { WHITE }
}

#[cfg(test)]
mod tests;
