//! The Bochs display interface: eleven 16-bit words that set the mode of head 0.
//!
//! Words and bits as the Bochs VBE extension has them. What is written reads back; the picture is
//! taken over when the display is enabled and at each write of the y offset, which drivers write
//! last. A picture that does not fit the VRAM is not shown.

use serde::Deserialize;
use serde::Serialize;

use crate::scanout::PixelFormat;
use crate::scanout::Scanout;

const ID: usize = 0;
const XRES: usize = 1;
const YRES: usize = 2;
const BPP: usize = 3;
const ENABLE: usize = 4;
const VIRT_WIDTH: usize = 6;
const X_OFFSET: usize = 8;
const Y_OFFSET: usize = 9;
const VIDEO_MEMORY_64K: usize = 10;

/// How many words there are.
pub(crate) const WORDS: usize = 11;

const ENABLED: u16 = 0x01;
/// XRES, YRES and BPP read as the largest values there are.
const GETCAPS: u16 = 0x02;
const NOCLEARMEM: u16 = 0x80;

/// The oldest and the newest version of the interface.
const IDS: std::ops::RangeInclusive<u16> = 0xb0c0..=0xb0c5;
const MAX_XRES: u16 = 16_000;
const MAX_YRES: u16 = 12_000;
const MAX_BPP: u16 = 32;

/// What a write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DispiEffect {
    /// A word was stored.
    Stored,
    /// The display went on; memory is to be cleared so far.
    Enabled {
        /// Bytes from the start of the VRAM.
        clear: u64,
    },
    /// The display went off.
    Disabled,
    /// The y offset was written while the display is on: a frame.
    Commit,
}

/// The words, and the picture that was taken over last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dispi {
    words: [u16; WORDS],
    pub(super) vram: u64,
    pub(super) shown: Option<Scanout>,
}

impl Dispi {
    pub(crate) fn new(vram: u64) -> Self {
        let mut words = [0; WORDS];
        words[ID] = *IDS.end();
        words[VIDEO_MEMORY_64K] = u16::try_from(vram >> 16).unwrap_or(u16::MAX);
        Self {
            words,
            vram,
            shown: None,
        }
    }

    /// The word of that number.
    pub(crate) fn read(&self, word: usize) -> u16 {
        match word {
            XRES if self.is(GETCAPS) => MAX_XRES,
            YRES if self.is(GETCAPS) => MAX_YRES,
            BPP if self.is(GETCAPS) => MAX_BPP,
            _ => self.words.get(word).copied().unwrap_or(0),
        }
    }

    /// The word as it was written, for a write of one half of it.
    pub(crate) fn stored(&self, word: usize) -> u16 {
        self.words.get(word).copied().unwrap_or(0)
    }

    pub(crate) fn write(&mut self, word: usize, value: u16, endian: Endian) -> DispiEffect {
        match word {
            ID if !IDS.contains(&value) => return DispiEffect::Stored,
            XRES if value > MAX_XRES => return DispiEffect::Stored,
            YRES if value > MAX_YRES => return DispiEffect::Stored,
            BPP if value > MAX_BPP => return DispiEffect::Stored,
            VIDEO_MEMORY_64K.. => return DispiEffect::Stored,
            _ => {}
        }
        let was_enabled = self.is(ENABLED);
        self.words[word] = value;
        match word {
            ENABLE => {
                self.take_over(endian);
                match (was_enabled, self.is(ENABLED)) {
                    (false, true) => DispiEffect::Enabled {
                        clear: self.to_clear(),
                    },
                    (true, false) => DispiEffect::Disabled,
                    _ => DispiEffect::Stored,
                }
            }
            Y_OFFSET if was_enabled => {
                self.take_over(endian);
                DispiEffect::Commit
            }
            _ => DispiEffect::Stored,
        }
    }

    /// Whether its words are such as can be written, with those that cannot as they are `here`.
    pub(crate) fn has_words_as(&self, here: &Self) -> bool {
        IDS.contains(&self.words[ID])
            && self.words[XRES] <= MAX_XRES
            && self.words[YRES] <= MAX_YRES
            && self.words[BPP] <= MAX_BPP
            && self.words[VIDEO_MEMORY_64K] == here.words[VIDEO_MEMORY_64K]
    }

    /// The picture that is shown, if the display is on.
    pub(crate) fn shown(&self) -> Option<Scanout> {
        self.shown
    }

    /// Takes the picture over as the words have it now.
    pub(crate) fn take_over(&mut self, endian: Endian) {
        self.shown = self.picture(endian);
    }

    fn is(&self, bit: u16) -> bool {
        self.words[ENABLE] & bit != 0
    }

    fn picture(&self, endian: Endian) -> Option<Scanout> {
        if !self.is(ENABLED) {
            return None;
        }
        let format = match (self.words[BPP], endian) {
            (32, Endian::Little) => PixelFormat::Xrgb8888,
            (32, Endian::Big) => PixelFormat::Bgrx8888,
            (24, Endian::Little) => PixelFormat::Rgb888,
            (16, Endian::Little) => PixelFormat::Rgb565,
            (15, Endian::Little) => PixelFormat::Xrgb1555,
            _ => return None,
        };
        let width = u32::from(self.words[XRES]);
        let stride = u32::from(self.words[VIRT_WIDTH]).max(width) * format.bytes();
        let lines = u64::from(self.words[Y_OFFSET]) * u64::from(stride);
        let pixels = u64::from(self.words[X_OFFSET]) * u64::from(format.bytes());
        let picture = Scanout {
            offset: lines + pixels,
            stride,
            width,
            height: u32::from(self.words[YRES]),
            format,
        };
        picture.within(self.vram)
    }

    /// What the interface clears when it is enabled: the lines of the mode, wherever they begin.
    fn to_clear(&self) -> u64 {
        match self.shown {
            Some(shown) if !self.is(NOCLEARMEM) => {
                (u64::from(shown.stride) * u64::from(shown.height)).min(self.vram)
            }
            _ => 0,
        }
    }
}

/// Byte order of a pixel, as the guest has set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Endian {
    /// That of x86.
    #[default]
    Little,
    /// The other.
    Big,
}

impl Endian {
    const LITTLE: u32 = 0x1e1e_1e1e;
    const BIG: u32 = 0xbebe_bebe;

    /// The register's value.
    pub(crate) const fn to_register(self) -> u32 {
        match self {
            Self::Little => Self::LITTLE,
            Self::Big => Self::BIG,
        }
    }

    /// What a value asks for, if it is one of the two.
    pub(crate) const fn from_register(value: u32) -> Option<Self> {
        match value {
            Self::LITTLE => Some(Self::Little),
            Self::BIG => Some(Self::Big),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
