//! The EDID of a virtual monitor: one base block (VESA E-EDID 1.4).

use crate::refresh::Refresh;

/// Bytes of the block.
pub(crate) const SIZE: usize = 128;

/// Largest size a detailed timing can say, pixels: 12 bits.
pub(crate) const MAX_PIXELS: u16 = 4095;

/// Pixels of horizontal and lines of vertical blanking: reduced, as flat panels have it (CVT-RB).
const H_BLANK: u16 = 160;
const H_FRONT: u16 = 48;
const H_SYNC: u16 = 32;
const V_BLANK: u16 = 30;
const V_FRONT: u16 = 3;
const V_SYNC: u16 = 6;

/// Longest name a descriptor holds.
const NAME_MAX: usize = 13;

/// What the monitor tells of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MonitorDescription<'a> {
    /// Its name; characters outside of printable ASCII and what is over 13 bytes are left out.
    pub(crate) name: &'a str,
    /// Preferred size, 1 to [`MAX_PIXELS`].
    pub(crate) width: u16,
    pub(crate) height: u16,
    pub(crate) refresh: Refresh,
    pub(crate) serial: u32,
}

impl MonitorDescription<'_> {
    /// The block, checksum included.
    pub(crate) fn to_edid(self) -> [u8; SIZE] {
        let mut edid = [0; SIZE];
        edid[0..8].copy_from_slice(&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]);
        edid[8..10].copy_from_slice(&manufacturer(*b"IRQ").to_be_bytes());
        // Product code: any.
        edid[10..12].copy_from_slice(&1u16.to_le_bytes());
        edid[12..16].copy_from_slice(&self.serial.to_le_bytes());
        // Week not given, 2024 counted from 1990; EDID 1.4.
        edid[16..20].copy_from_slice(&[0, 34, 1, 4]);
        // Digital, 8 bits a colour, interface not defined.
        edid[20] = 0b1010_0000;
        // Size at 100 dots an inch, in centimetres.
        edid[21] = centimetres(self.width);
        edid[22] = centimetres(self.height);
        // Gamma 2.2; sRGB, and the first timing is the preferred one.
        edid[23..25].copy_from_slice(&[120, 0b0000_0110]);
        // The primaries and the white of sRGB.
        edid[25..35].copy_from_slice(&[0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54]);
        // 640x480, 800x600 and 1024x768 at 60 Hz.
        edid[35..38].copy_from_slice(&[0x21, 0x08, 0x00]);
        // No standard timings.
        edid[38..54].fill(0x01);
        edid[54..72].copy_from_slice(&self.timing());
        edid[72..90].copy_from_slice(&self.range());
        edid[90..108].copy_from_slice(&text_descriptor(0xfc, self.name));
        edid[108..126].copy_from_slice(&dummy_descriptor());
        edid[127] = checksum(&edid[..127]);
        edid
    }

    /// Pixels a second, in the unit of a detailed timing: 10 kHz. Saturates at 655.35 MHz, beyond
    /// which this structure has no way to tell the rate.
    fn clock(&self) -> u16 {
        let pixels = u64::from(self.width + H_BLANK) * u64::from(self.height + V_BLANK);
        let numerator = pixels * u64::from(self.refresh.numerator());
        let clock = numerator / (u64::from(self.refresh.denominator()) * 10_000);
        u16::try_from(clock).unwrap_or(u16::MAX)
    }

    /// Detailed timing of the preferred mode.
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

    /// Limits of the rates, only to say that the preferred mode is within.
    fn range(&self) -> [u8; 18] {
        let hertz = self
            .refresh
            .numerator()
            .div_ceil(self.refresh.denominator());
        let kilohertz = hertz
            .saturating_mul(u32::from(self.height + V_BLANK))
            .div_ceil(1000);
        let byte = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
        let mut range = [0x0a; 18];
        range[0..5].copy_from_slice(&[0, 0, 0, 0xfd, 0]);
        range[5..9].copy_from_slice(&[1, byte(hertz).max(75), 15, byte(kilohertz).max(100)]);
        // In 10 MHz.
        range[9] = byte(u32::from(self.clock()).div_ceil(1000)).max(16);
        // Limits only.
        range[10] = 0x01;
        range[12..18].fill(0x20);
        range
    }
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

/// What makes the sum of all bytes 0.
fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0u8, |sum, byte| sum.wrapping_add(*byte))
        .wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(edid: &[u8]) -> u8 {
        edid.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
    }

    /// Width, height and pixel clock (10 kHz) out of the first detailed timing.
    fn timing(edid: &[u8]) -> (u16, u16, u16) {
        let wide = |low: usize, high: usize| u16::from(edid[low]) | u16::from(edid[high] >> 4) << 8;
        (
            wide(56, 58),
            wide(59, 61),
            u16::from_le_bytes([edid[54], edid[55]]),
        )
    }

    proptest! {
        #[test]
        fn edid_of_any_monitor_is_valid_and_prefers_its_mode(
            name in ".{0,40}",
            width in 1..=MAX_PIXELS,
            height in 1..=MAX_PIXELS,
            millihertz in 1_000..=1_000_000u32,
        ) {
            let refresh = Refresh::from_millihertz(millihertz).unwrap();
            let monitor = MonitorDescription { name: &name, width, height, refresh, serial: 7 };
            let edid = monitor.to_edid();
            prop_assert_eq!(&edid[..8], &[0, 255, 255, 255, 255, 255, 255, 0]);
            prop_assert_eq!(sum(&edid), 0);
            prop_assert_eq!(edid[126], 0, "no extension");
            let (told_width, told_height, clock) = timing(&edid);
            prop_assert_eq!((told_width, told_height), (width, height));
            let pixels = u64::from(width + 160) * u64::from(height + 30);
            let exact = pixels * u64::from(millihertz) / 10_000_000;
            prop_assert_eq!(u64::from(clock), exact.min(65_535));
        }
    }

    #[test]
    fn name_is_in_its_descriptor_cut_to_what_fits() {
        let name = |name| {
            let refresh = Refresh::HZ_60;
            let monitor = MonitorDescription {
                name,
                width: 800,
                height: 600,
                refresh,
                serial: 0,
            };
            monitor.to_edid()[90..108].to_vec()
        };
        assert_eq!(name("vgpu0"), b"\0\0\0\xfc\0vgpu0\n       ");
        assert_eq!(
            name("thirteen chars and more"),
            b"\0\0\0\xfc\0thirteen char"
        );
        assert_eq!(name("tab\there"), b"\0\0\0\xfc\0tabhere\n     ");
    }
}
