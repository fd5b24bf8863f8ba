//! What an EDID says of its monitor, as far as another one of the same monitor is to say it too.

use crate::edid::BLOCK;
use crate::edid::Edid;
use crate::edid::build::Mode;
use crate::edid::build::MonitorDescription;
use crate::edid::build::MonitorError;
use crate::refresh::Refresh;

/// Bytes of a descriptor or detailed timing.
const DESCRIPTOR: usize = 18;
/// Where the descriptors of the base block begin, four of them.
const DESCRIPTORS: std::ops::Range<usize> = 54..126;
/// What a descriptor with the name begins with.
const NAME: [u8; 5] = [0, 0, 0, 0xfc, 0];
/// What a CTA-861 extension begins with.
const CTA: u8 = 0x02;
/// Of the last byte of a timing: every second line is in another picture.
const INTERLACED: u8 = 0x80;

impl Edid {
    /// The monitor's name; empty if it has none.
    #[must_use]
    pub fn name(&self) -> String {
        let mut descriptors = self.descriptors();
        let text = descriptors.find_map(|descriptor| descriptor.strip_prefix(&NAME));
        let text = text.unwrap_or_default().split(|&byte| byte == b'\n').next();
        let printable = text.into_iter().flatten().map(|&byte| char::from(byte));
        let name: String = printable.filter(char::is_ascii).collect();
        name.trim_end().to_owned()
    }

    /// The monitor's serial number.
    #[must_use]
    pub fn serial(&self) -> u32 {
        let [_, _, _, _, serial @ ..] = *self.bytes[8..].first_chunk::<8>().unwrap_or(&[0; 8]);
        u32::from_le_bytes(serial)
    }

    /// The modes of its detailed timings, the best first; those of the base block and of CTA-861
    /// extensions. Left out are interlaced ones and those whose rate is no [`Refresh`].
    #[must_use]
    pub fn modes(&self) -> Vec<Mode> {
        let extensions = self.bytes.chunks_exact(BLOCK).skip(1);
        let timings = extensions
            .filter(|block| block[0] == CTA)
            .flat_map(|block| {
                // 0 is none.
                let from = match usize::from(block[2]) {
                    0 => BLOCK,
                    from => from,
                };
                let timings = block.get(from..BLOCK - 1).unwrap_or_default();
                timings
                    .chunks_exact(DESCRIPTOR)
                    .take_while(|timing| is_timing(timing))
            });
        let own = self
            .descriptors()
            .filter(|descriptor| is_timing(descriptor));
        own.chain(timings).filter_map(mode).collect()
    }

    /// Another EDID of the same monitor, which prefers this size: of the same name and serial number,
    /// at the rate preferred so far (60 Hz if none is), with the modes it has behind it. It has no more
    /// than `room` bytes, by leaving out modes.
    ///
    /// # Errors
    ///
    /// [`MonitorError::Mode`] if the size cannot be told, [`MonitorError::Room`] if there is no room
    /// for a block.
    pub fn preferring(&self, width: u16, height: u16, room: usize) -> Result<Self, MonitorError> {
        let mut modes = self.modes();
        let refresh = modes.first().map_or(Refresh::HZ_60, |mode| mode.refresh);
        modes.retain(|mode| (mode.width, mode.height) != (width, height));
        modes.insert(
            0,
            Mode {
                width,
                height,
                refresh,
            },
        );
        if room < 2 * BLOCK {
            modes.truncate(MonitorDescription::MODES_OF_A_BLOCK);
        }
        let monitor = MonitorDescription {
            name: &self.name(),
            serial: self.serial(),
            modes: &modes,
        };
        let edid = monitor.to_edid()?;
        let needed = edid.as_bytes().len();
        if needed > room {
            return Err(MonitorError::Room { needed, room });
        }
        Ok(edid)
    }

    fn descriptors(&self) -> impl Iterator<Item = &[u8]> {
        let descriptors = self.bytes.get(DESCRIPTORS).unwrap_or_default();
        descriptors.chunks_exact(DESCRIPTOR)
    }
}

/// Whether it has a pixel clock, without which it says something else.
fn is_timing(descriptor: &[u8]) -> bool {
    descriptor[..2] != [0, 0]
}

fn mode(timing: &[u8]) -> Option<Mode> {
    // Upper four bits, lower eight; of the part that is shown and of its blanking.
    let shown = |low: usize| u16::from(timing[low]) | u16::from(timing[low + 2] >> 4) << 8;
    let blank = |low: usize| u16::from(timing[low + 1]) | u16::from(timing[low + 2] & 0x0f) << 8;
    let total = |low: usize| u32::from(shown(low)) + u32::from(blank(low));
    let clock = u32::from(u16::from_le_bytes([timing[0], timing[1]]));
    // In 10 kHz; below 2^30, and the product below 2^26.
    let refresh = Refresh::new(clock * 10_000, total(2) * total(5)).ok()?;
    let (width, height) = (shown(2), shown(5));
    let is_whole = timing[DESCRIPTOR - 1] & INTERLACED == 0;
    (is_whole && width > 0 && height > 0).then_some(Mode {
        width,
        height,
        refresh,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edid(name: &str, serial: u32, modes: &[Mode]) -> Edid {
        let monitor = MonitorDescription {
            name,
            serial,
            modes,
        };
        monitor.to_edid().unwrap()
    }

    fn sizes(edid: &Edid) -> Vec<(u16, u16)> {
        let modes = edid.modes();
        modes.iter().map(|mode| (mode.width, mode.height)).collect()
    }

    fn mode(width: u16, height: u16) -> Mode {
        Mode {
            width,
            height,
            refresh: Refresh::HZ_60,
        }
    }

    prop_compose! {
        /// A mode whose pixel clock can be told.
        fn modes()(
            width in 64..=2000u16,
            height in 64..=1200u16,
            millihertz in 10_000..=200_000u32,
        ) -> Mode {
            Mode { width, height, refresh: Refresh::from_millihertz(millihertz).unwrap() }
        }
    }

    proptest! {
        #[test]
        fn monitor_built_of_what_was_read_tells_the_same(
            name in "[!-~]{0,13}",
            serial: u32,
            modes in proptest::collection::vec(modes(), 1..=8),
        ) {
            let built = edid(&name, serial, &modes);
            let again = edid(&built.name(), built.serial(), &built.modes());
            prop_assert_eq!((&again.name(), again.serial()), (&name, serial));
            let told: Vec<_> = modes.iter().map(|mode| (mode.width, mode.height)).collect();
            prop_assert_eq!(sizes(&again), told);
            // Not the rates asked for: a timing has them in steps of its pixel clock.
            prop_assert_eq!(again.modes(), built.modes());
        }

        #[test]
        fn any_blocks_with_right_checksums_are_read(mut bytes: [u8; 2 * BLOCK], cta: bool) {
            bytes[..8].copy_from_slice(&crate::edid::HEADER);
            bytes[126] = 1;
            if cta {
                bytes[BLOCK] = CTA;
            }
            for block in bytes.chunks_exact_mut(BLOCK) {
                block[BLOCK - 1] = crate::edid::checksum(&block[..BLOCK - 1]);
            }
            let edid = Edid::parse(&bytes).unwrap();
            prop_assert!(edid.modes().len() <= 4 + 6);
            prop_assert!(edid.name().len() <= 13);
            let other = edid.preferring(800, 600, Edid::MAX_LEN).unwrap();
            prop_assert_eq!(other.preferred(), Some((800, 600)));
        }
    }

    #[test]
    fn monitor_that_prefers_another_size_stays_the_same_one() {
        let modes = [(1920, 1080), (1280, 800), (1024, 768)].map(|(w, h)| mode(w, h));
        let before = edid("same", 0x0102_0304, &modes);
        let after = before.preferring(1400, 900, 256).unwrap();
        assert_eq!(
            (after.name().as_str(), after.serial()),
            ("same", 0x0102_0304)
        );
        assert_eq!(
            sizes(&after),
            [(1400, 900), (1920, 1080), (1280, 800), (1024, 768)]
        );
        // One it has already comes first, and once.
        let back = before.preferring(1280, 800, 256).unwrap();
        assert_eq!(sizes(&back), [(1280, 800), (1920, 1080), (1024, 768)]);
    }

    #[test]
    fn edid_has_no_more_bytes_than_there_is_room_for() {
        let modes = [(1920, 1080), (1280, 800), (1024, 768)].map(|(w, h)| mode(w, h));
        let before = edid("room", 0, &modes);
        let short = before.preferring(800, 600, 255).unwrap();
        assert_eq!(short.as_bytes().len(), 128);
        assert_eq!(sizes(&short), [(800, 600), (1920, 1080)]);
        let (needed, room) = (128, 127);
        let refused = before.preferring(800, 600, room);
        assert_eq!(refused, Err(MonitorError::Room { needed, room }));
    }

    #[test]
    fn interlaced_timings_are_no_modes() {
        let mut bytes = edid("i", 0, &[mode(1920, 540), mode(800, 600)])
            .as_bytes()
            .to_vec();
        bytes[71] |= INTERLACED;
        bytes[127] = crate::edid::checksum(&bytes[..127]);
        assert_eq!(sizes(&Edid::parse(&bytes).unwrap()), [(800, 600)]);
    }
}
