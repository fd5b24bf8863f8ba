//! The EDID of a virtual monitor (VESA E-EDID 1.4, CTA-861 for more than two modes).

use crate::edid::BLOCK;
use crate::edid::Edid;
use crate::edid::HEADER;
use crate::edid::checksum;
use crate::refresh::Refresh;

/// Pixels of horizontal and lines of vertical blanking: reduced, as flat panels have it (CVT-RB).
const H_BLANK: u16 = 160;
const H_FRONT: u16 = 48;
const H_SYNC: u16 = 32;
const V_BLANK: u16 = 30;
const V_FRONT: u16 = 3;
const V_SYNC: u16 = 6;

/// Longest name a descriptor holds.
const NAME_MAX: usize = 13;

/// Most modes a monitor can tell: two in the base block, six in one extension.
const MODES_MAX: usize = 8;
/// Where a descriptor of the base block for a second mode is.
const SECOND: usize = 108;

/// A mode that a monitor prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Pixels, 1 to 4095.
    pub width: u16,
    /// Lines, 1 to 4095.
    pub height: u16,
    /// Vertical rate.
    pub refresh: Refresh,
}

/// What a monitor tells of itself.
#[derive(Debug, Clone, Copy)]
pub struct MonitorDescription<'a> {
    /// Its name; characters outside of printable ASCII and what is over 13 bytes are left out.
    pub name: &'a str,
    /// Its serial number.
    pub serial: u32,
    /// What it prefers, the best first: 1 to 8; any more are left out.
    pub modes: &'a [Mode],
}

/// Why there is no such monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MonitorError {
    /// It prefers nothing.
    #[error("a monitor without a mode")]
    NoMode,
    /// A mode that cannot be told.
    #[error("a mode of {width}x{height} is not in 1x1 ..= {max}x{max}", max = Mode::MAX_SIDE)]
    Mode {
        /// Pixels.
        width: u16,
        /// Lines.
        height: u16,
    },
    /// It is to take less than a block.
    #[error("an edid of {needed} bytes does not fit {room}")]
    Room {
        /// Bytes it has.
        needed: usize,
        /// Bytes there are.
        room: usize,
    },
}

impl MonitorDescription<'_> {
    /// Modes that an EDID of one block can tell.
    pub const MODES_OF_A_BLOCK: usize = 2;

    /// Its EDID: one block, and a CTA-861 extension if it has more than two modes.
    ///
    /// # Errors
    ///
    /// See [`MonitorError`].
    pub fn to_edid(self) -> Result<Edid, MonitorError> {
        let modes = &self.modes[..self.modes.len().min(MODES_MAX)];
        let (first, others) = modes.split_first().ok_or(MonitorError::NoMode)?;
        for &Mode { width, height, .. } in modes {
            if ![width, height]
                .iter()
                .all(|size| (1..=Mode::MAX_SIDE).contains(size))
            {
                return Err(MonitorError::Mode { width, height });
            }
        }
        let (second, more) = others.split_at(others.len().min(Self::MODES_OF_A_BLOCK - 1));
        let mut edid = self.base(first, second.first(), modes).to_vec();
        if !more.is_empty() {
            edid[126] = 1;
            edid.extend_from_slice(&extension(more));
        }
        for block in edid.chunks_exact_mut(BLOCK) {
            block[BLOCK - 1] = checksum(&block[..BLOCK - 1]);
        }
        Ok(Edid::built(edid))
    }

    /// The base block, but for its checksum.
    fn base(&self, first: &Mode, second: Option<&Mode>, all: &[Mode]) -> [u8; BLOCK] {
        let mut edid = [0; BLOCK];
        edid[0..8].copy_from_slice(&HEADER);
        edid[8..10].copy_from_slice(&manufacturer(*b"IRQ").to_be_bytes());
        // Product code: any.
        edid[10..12].copy_from_slice(&1u16.to_le_bytes());
        edid[12..16].copy_from_slice(&self.serial.to_le_bytes());
        // Week not given, 2024 counted from 1990; EDID 1.4.
        edid[16..20].copy_from_slice(&[0, 34, 1, 4]);
        // Digital, 8 bits a colour, interface not defined.
        edid[20] = 0b1010_0000;
        // Size at 100 dots an inch, in centimetres.
        edid[21] = centimetres(first.width);
        edid[22] = centimetres(first.height);
        // Gamma 2.2; sRGB, and the first timing is the preferred one.
        edid[23..25].copy_from_slice(&[120, 0b0000_0110]);
        // The primaries and the white of sRGB.
        edid[25..35].copy_from_slice(&[0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54]);
        // 640x480, 800x600 and 1024x768 at 60 Hz.
        edid[35..38].copy_from_slice(&[0x21, 0x08, 0x00]);
        // No standard timings.
        edid[38..54].fill(0x01);
        edid[54..72].copy_from_slice(&first.timing());
        edid[72..90].copy_from_slice(&range(all));
        edid[90..108].copy_from_slice(&text_descriptor(0xfc, self.name));
        let last = second.map_or_else(dummy_descriptor, Mode::timing);
        edid[SECOND..126].copy_from_slice(&last);
        edid
    }
}

/// A CTA-861 extension with detailed timings and nothing else, but for its checksum.
fn extension(modes: &[Mode]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    // Tag, revision 3, timings from byte 4 on, no native ones.
    block[0..4].copy_from_slice(&[0x02, 0x03, 0x04, 0x00]);
    for (mode, place) in modes.iter().zip(block[4..BLOCK - 1].chunks_exact_mut(18)) {
        place.copy_from_slice(&mode.timing());
    }
    block
}

impl Mode {
    /// Largest side that a detailed timing can say, pixels: 12 bits.
    pub const MAX_SIDE: u16 = 4095;

    /// Pixels a second, in the unit of a detailed timing: 10 kHz. Saturates at 655.35 MHz, beyond
    /// which this structure has no way to tell the rate.
    fn clock(&self) -> u16 {
        let pixels = u64::from(self.width + H_BLANK) * u64::from(self.height + V_BLANK);
        let numerator = pixels * u64::from(self.refresh.numerator());
        let clock = numerator / (u64::from(self.refresh.denominator()) * 10_000);
        u16::try_from(clock).unwrap_or(u16::MAX)
    }

    /// Lines a second, in kHz, rounded up.
    fn line_rate(&self) -> u32 {
        self.hertz()
            .saturating_mul(u32::from(self.height + V_BLANK))
            .div_ceil(1000)
    }

    /// The vertical rate, rounded up.
    fn hertz(&self) -> u32 {
        let Self { refresh, .. } = self;
        refresh.numerator().div_ceil(refresh.denominator())
    }

    /// Its detailed timing.
    fn timing(&self) -> [u8; 18] {
        let [clock_low, clock_high] = self.clock().to_le_bytes();
        let (width, h_blank) = (split(self.width), split(H_BLANK));
        let (height, v_blank) = (split(self.height), split(V_BLANK));
        let (front, sync) = (split(H_FRONT), split(H_SYNC));
        let (v_front, v_sync) = (split(V_FRONT), split(V_SYNC));
        let millimetres = |pixels| split(u16::from(centimetres(pixels)) * 10);
        let (image_width, image_height) = (millimetres(self.width), millimetres(self.height));
        let mut timing = [0; 18];
        timing[0..2].copy_from_slice(&[clock_low, clock_high]);
        timing[2..5].copy_from_slice(&[width.1, h_blank.1, width.0 << 4 | h_blank.0]);
        timing[5..8].copy_from_slice(&[height.1, v_blank.1, height.0 << 4 | v_blank.0]);
        timing[8..11].copy_from_slice(&[front.1, sync.1, v_front.1 << 4 | v_sync.1]);
        timing[12..14].copy_from_slice(&[image_width.1, image_height.1]);
        timing[14] = image_width.0 << 4 | image_height.0;
        // Digital separate syncs: horizontal positive, vertical negative, as reduced blanking has.
        timing[17] = 0b0001_1010;
        timing
    }
}

/// Limits of the rates, only to say that all modes are within.
fn range(modes: &[Mode]) -> [u8; 18] {
    let byte = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
    let most = |of: fn(&Mode) -> u32| byte(modes.iter().map(of).max().unwrap_or(0));
    let mut range = [0x0a; 18];
    range[0..5].copy_from_slice(&[0, 0, 0, 0xfd, 0]);
    let (hertz, kilohertz) = (most(Mode::hertz), most(Mode::line_rate));
    range[5..9].copy_from_slice(&[1, hertz.max(75), 15, kilohertz.max(100)]);
    // In 10 MHz.
    range[9] = most(|mode| u32::from(mode.clock()).div_ceil(1000)).max(16);
    // Limits only.
    range[10] = 0x01;
    range[12..18].fill(0x20);
    range
}

/// Three letters, five bits each.
fn manufacturer(letters: [u8; 3]) -> u16 {
    letters
        .iter()
        .fold(0, |id, letter| id << 5 | u16::from(letter - b'A' + 1))
}

/// Upper four bits, lower eight.
fn split(value: u16) -> (u8, u8) {
    let [high, low] = value.to_be_bytes();
    (high & 0x0f, low)
}

fn centimetres(pixels: u16) -> u8 {
    u8::try_from(u32::from(pixels) * 254 / 10_000).unwrap_or(u8::MAX)
}

fn text_descriptor(tag: u8, text: &str) -> [u8; 18] {
    let printable = text.bytes().filter(|byte| (0x20..0x7f).contains(byte));
    let mut descriptor = [0x20; 18];
    descriptor[0..5].copy_from_slice(&[0, 0, 0, tag, 0]);
    let mut end = 5;
    for byte in printable.take(NAME_MAX) {
        descriptor[end] = byte;
        end += 1;
    }
    if let Some(byte) = descriptor.get_mut(end) {
        *byte = b'\n';
    }
    descriptor
}

fn dummy_descriptor() -> [u8; 18] {
    let mut descriptor = [0; 18];
    descriptor[3] = 0x10;
    descriptor
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Width, height and pixel clock (10 kHz) out of a detailed timing.
    fn timing(edid: &[u8], at: usize) -> (u16, u16, u16) {
        let wide = |low: usize, high: usize| {
            u16::from(edid[at + low]) | u16::from(edid[at + high] >> 4) << 8
        };
        (
            wide(2, 4),
            wide(5, 7),
            u16::from_le_bytes([edid[at], edid[at + 1]]),
        )
    }

    fn mode(width: u16, height: u16) -> Mode {
        let refresh = Refresh::HZ_60;
        Mode {
            width,
            height,
            refresh,
        }
    }

    fn monitor<'a>(name: &'a str, modes: &'a [Mode]) -> MonitorDescription<'a> {
        MonitorDescription {
            name,
            serial: 7,
            modes,
        }
    }

    proptest! {
        #[test]
        fn edid_of_any_monitor_is_valid_and_prefers_its_mode(
            name in ".{0,40}",
            width in 1..=Mode::MAX_SIDE,
            height in 1..=Mode::MAX_SIDE,
            millihertz in 1_000..=1_000_000u32,
        ) {
            let refresh = Refresh::from_millihertz(millihertz).unwrap();
            let modes = [Mode { width, height, refresh }];
            let edid = monitor(&name, &modes).to_edid().unwrap();
            prop_assert_eq!(Edid::parse(edid.as_bytes()), Ok(edid.clone()));
            prop_assert_eq!(edid.as_bytes()[126], 0, "no extension");
            prop_assert_eq!(edid.preferred(), Some((width, height)));
            let (_, _, clock) = timing(edid.as_bytes(), 54);
            let pixels = u64::from(width + 160) * u64::from(height + 30);
            let exact = pixels * u64::from(millihertz) / 10_000_000;
            prop_assert_eq!(u64::from(clock), exact.min(65_535));
        }

        #[test]
        fn modes_of_any_number_up_to_eight_are_all_told_in_their_order(
            sizes in proptest::collection::vec((1..=Mode::MAX_SIDE, 1..=Mode::MAX_SIDE), 1..12),
        ) {
            let modes: Vec<Mode> = sizes.iter().map(|&(width, height)| mode(width, height)).collect();
            let edid = monitor("many", &modes).to_edid().unwrap();
            prop_assert_eq!(Edid::parse(edid.as_bytes()), Ok(edid.clone()));
            let places = [54, 108, 132, 150, 168, 186, 204, 222];
            for (size, at) in sizes.iter().zip(places) {
                let (width, height, _) = timing(edid.as_bytes(), at);
                prop_assert_eq!((width, height), *size);
            }
        }
    }

    #[test]
    fn monitor_without_modes_or_with_one_that_cannot_be_told_is_refused() {
        assert_eq!(monitor("none", &[]).to_edid(), Err(MonitorError::NoMode));
        for (width, height) in [(0, 600), (800, 4096)] {
            let modes = [mode(800, 600), mode(width, height)];
            let refused = monitor("bad", &modes).to_edid();
            assert_eq!(refused, Err(MonitorError::Mode { width, height }));
        }
    }

    #[test]
    fn name_is_in_its_descriptor_cut_to_what_fits() {
        let name = |name| {
            let edid = monitor(name, &[mode(800, 600)]).to_edid().unwrap();
            edid.as_bytes()[90..108].to_vec()
        };
        assert_eq!(name("vgpu0"), b"\0\0\0\xfc\0vgpu0\n       ");
        assert_eq!(
            name("thirteen chars and more"),
            b"\0\0\0\xfc\0thirteen char"
        );
        assert_eq!(name("tab\there"), b"\0\0\0\xfc\0tabhere\n     ");
    }
}
