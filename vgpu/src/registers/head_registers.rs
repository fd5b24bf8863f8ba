//! The registers of one head in the vblank and flip block (`design/vgpu-registers.md`).

use serde::Deserialize;
use serde::Serialize;

use crate::cursor::Cursor;
use crate::registers::effect::Interrupts;
use crate::scanout::PixelFormat;
use crate::scanout::Scanout;

/// Bytes from one head's registers to the next.
pub(crate) const STRIDE: usize = 0x40;

const INTERRUPT_ENABLE: usize = 0x00;
const INTERRUPT_STATUS: usize = 0x04;
const FRAME_LOW: usize = 0x08;
const FRAME_HIGH: usize = 0x0c;
const FLIPS_LOW: usize = 0x10;
const FLIPS_HIGH: usize = 0x14;
const REFRESH: usize = 0x18;
const MONITOR: usize = 0x1c;
const PLANE_OFFSET: usize = 0x20;
const PLANE_STRIDE: usize = 0x24;
const PLANE_SIZE: usize = 0x28;
const PLANE_CONTROL: usize = 0x2c;
const CURSOR_OFFSET: usize = 0x30;
const CURSOR_POSITION: usize = 0x34;
const CURSOR_HOTSPOT: usize = 0x38;
const CURSOR_CONTROL: usize = 0x3c;

/// Of the control registers: the plane is shown.
const SHOW: u32 = 1 << 0;

/// What the registers tell that is not kept in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HeadView {
    /// The frame counter.
    pub(crate) frame: u64,
    /// Flips that have been shown.
    pub(crate) flips: u64,
    /// Refresh rate, thousandths of a hertz.
    pub(crate) millihertz: u32,
    /// Events the guest has not acknowledged.
    pub(crate) status: Interrupts,
    /// Whether a monitor is plugged in.
    pub(crate) monitor: Monitor,
}

/// Whether a monitor is plugged into a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// One is, and tells what it can show.
    #[default]
    Plugged,
    /// None is.
    Unplugged,
}

/// What a write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadEffect {
    /// A word was stored, or nothing was.
    Stored,
    /// The plane's registers were taken over.
    Commit,
    /// The cursor's were, and it is not as before.
    CursorChanged,
    /// Which events interrupt the guest.
    InterruptsEnabled,
    /// The guest has seen these.
    Acknowledged(Interrupts),
}

/// Where the picture of a head is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlaneSource {
    /// In these registers.
    Own,
    /// In the Bochs display interface: the registers here show what it shows.
    Dispi(Option<Scanout>),
}

/// The words of one head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeadRegisters {
    pub(super) vram: u64,
    /// Of [`Interrupts`], none but those.
    enabled: u32,
    plane: [u32; 4],
    shown: Option<Scanout>,
    cursor: [u32; 4],
    cursor_shown: Option<Cursor>,
}

impl HeadRegisters {
    pub(crate) fn new(vram: u64) -> Self {
        Self {
            vram,
            enabled: 0,
            plane: [0; 4],
            shown: None,
            cursor: [0; 4],
            cursor_shown: None,
        }
    }

    /// The word at a multiple of 4 below [`STRIDE`].
    pub(crate) fn read(&self, offset: usize, view: &HeadView, source: PlaneSource) -> u32 {
        match offset {
            INTERRUPT_ENABLE => self.enabled,
            INTERRUPT_STATUS => view.status.bits(),
            FRAME_LOW => low(view.frame),
            FRAME_HIGH => low(view.frame >> 32),
            FLIPS_LOW => low(view.flips),
            FLIPS_HIGH => low(view.flips >> 32),
            REFRESH => view.millihertz,
            MONITOR => u32::from(view.monitor == Monitor::Plugged),
            PLANE_OFFSET | PLANE_STRIDE | PLANE_SIZE | PLANE_CONTROL => match source {
                PlaneSource::Own => self.plane[(offset - PLANE_OFFSET) / 4],
                PlaneSource::Dispi(shown) => plane_words(shown)[(offset - PLANE_OFFSET) / 4],
            },
            CURSOR_OFFSET | CURSOR_POSITION | CURSOR_HOTSPOT | CURSOR_CONTROL => {
                self.cursor[(offset - CURSOR_OFFSET) / 4]
            }
            _ => 0,
        }
    }

    /// Writes the bits in `mask` of the word at a multiple of 4 below [`STRIDE`].
    pub(crate) fn write(
        &mut self,
        offset: usize,
        value: u32,
        mask: u32,
        source: PlaneSource,
    ) -> HeadEffect {
        match offset {
            INTERRUPT_ENABLE => {
                let bits = merge(self.enabled, value, mask);
                self.enabled = Interrupts::from_bits_truncate(bits).bits();
                HeadEffect::InterruptsEnabled
            }
            // Write 1 to clear: bits outside of the access are not 1.
            INTERRUPT_STATUS => {
                HeadEffect::Acknowledged(Interrupts::from_bits_truncate(value & mask))
            }
            PLANE_OFFSET | PLANE_STRIDE | PLANE_SIZE | PLANE_CONTROL
                if source == PlaneSource::Own =>
            {
                let word = &mut self.plane[(offset - PLANE_OFFSET) / 4];
                *word = merge(*word, value, mask);
                if offset != PLANE_CONTROL {
                    return HeadEffect::Stored;
                }
                self.shown = self.picture();
                HeadEffect::Commit
            }
            CURSOR_OFFSET | CURSOR_POSITION | CURSOR_HOTSPOT | CURSOR_CONTROL => {
                let word = &mut self.cursor[(offset - CURSOR_OFFSET) / 4];
                *word = merge(*word, value, mask);
                if offset != CURSOR_POSITION && offset != CURSOR_CONTROL {
                    return HeadEffect::Stored;
                }
                let before = self.cursor_shown;
                self.cursor_shown = self.cursor_picture();
                // A control write with the cursor on says that it was drawn anew.
                if before == self.cursor_shown && (offset == CURSOR_POSITION || before.is_none()) {
                    return HeadEffect::Stored;
                }
                HeadEffect::CursorChanged
            }
            _ => HeadEffect::Stored,
        }
    }

    pub(crate) fn enabled(&self) -> Interrupts {
        Interrupts::from_bits_truncate(self.enabled)
    }

    pub(super) fn has_known_interrupts(&self) -> bool {
        Interrupts::from_bits(self.enabled).is_some()
    }

    /// The picture taken over last, of a head whose plane is set here.
    pub(crate) fn shown(&self) -> Option<Scanout> {
        self.shown
    }

    pub(crate) fn cursor(&self) -> Option<Cursor> {
        self.cursor_shown
    }

    fn picture(&self) -> Option<Scanout> {
        let [offset, stride, size, control] = self.plane;
        let picture = Scanout {
            offset: u64::from(offset),
            stride,
            width: size & 0xffff,
            height: size >> 16,
            format: PixelFormat::Xrgb8888,
        };
        (control & SHOW != 0)
            .then(|| picture.within(self.vram))
            .flatten()
    }

    fn cursor_picture(&self) -> Option<Cursor> {
        let [offset, position, hotspot, control] = self.cursor;
        let end = u64::from(offset) + Cursor::BYTES;
        (control & SHOW != 0 && end <= self.vram).then(|| Cursor {
            offset: u64::from(offset),
            x: signed(position),
            y: signed(position >> 16),
            x_hot: halfword(hotspot),
            y_hot: halfword(hotspot >> 16),
        })
    }
}

/// The plane registers of a picture.
fn plane_words(shown: Option<Scanout>) -> [u32; 4] {
    shown.map_or([0; 4], |shown| {
        // Below 2^32: the VRAM is at most 2 GiB, and 16 bits each make width and height.
        let size = shown.height << 16 | shown.width;
        [low(shown.offset), shown.stride, size, SHOW]
    })
}

fn merge(old: u32, new: u32, mask: u32) -> u32 {
    old & !mask | new & mask
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower half is asked for"
)]
const fn low(value: u64) -> u32 {
    value as u32
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower half is asked for"
)]
const fn halfword(value: u32) -> u16 {
    value as u16
}

const fn signed(value: u32) -> i16 {
    halfword(value).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u32 = u32::MAX;
    const OWN: PlaneSource = PlaneSource::Own;

    fn registers() -> HeadRegisters {
        HeadRegisters::new(16 << 20)
    }

    #[test]
    fn control_write_takes_the_plane_over() {
        let mut head = registers();
        for (offset, value) in [
            (PLANE_OFFSET, 0x1000),
            (PLANE_STRIDE, 2560),
            (PLANE_SIZE, 480 << 16 | 640),
        ] {
            assert_eq!(head.write(offset, value, ALL, OWN), HeadEffect::Stored);
        }
        assert_eq!(head.shown(), None);
        assert_eq!(
            head.write(PLANE_CONTROL, SHOW, ALL, OWN),
            HeadEffect::Commit
        );
        let shown = head.shown().unwrap();
        assert_eq!(
            (shown.offset, shown.stride, shown.width, shown.height),
            (0x1000, 2560, 640, 480)
        );
        assert_eq!(head.write(PLANE_CONTROL, 0, ALL, OWN), HeadEffect::Commit);
        assert_eq!(head.shown(), None);
    }

    #[test]
    fn plane_of_the_display_interface_can_be_read_and_not_written() {
        let shown = Scanout {
            offset: 0x2000,
            stride: 5120,
            width: 1280,
            height: 800,
            format: PixelFormat::Xrgb8888,
        };
        let source = PlaneSource::Dispi(Some(shown));
        let mut head = registers();
        head.write(PLANE_STRIDE, 1, ALL, source);
        head.write(PLANE_CONTROL, SHOW, ALL, source);
        assert_eq!(head.shown(), None);
        let words = [PLANE_OFFSET, PLANE_STRIDE, PLANE_SIZE, PLANE_CONTROL];
        let read = words.map(|offset| head.read(offset, &HeadView::default(), source));
        assert_eq!(read, [0x2000, 5120, 800 << 16 | 1280, 1]);
    }

    #[test]
    fn cursor_changes_with_its_position_and_with_each_control_write_while_it_is_shown() {
        let mut head = registers();
        assert_eq!(
            head.write(CURSOR_POSITION, 5, ALL, OWN),
            HeadEffect::Stored,
            "not shown"
        );
        // One column off the left edge.
        assert_eq!(
            head.write(CURSOR_CONTROL, SHOW, ALL, OWN),
            HeadEffect::CursorChanged
        );
        assert_eq!(
            head.write(CURSOR_POSITION, 0x000a_ffff, ALL, OWN),
            HeadEffect::CursorChanged
        );
        assert_eq!(
            head.cursor().map(|cursor| (cursor.x, cursor.y)),
            Some((-1, 10))
        );
        assert_eq!(
            head.write(CURSOR_POSITION, 0x000a_ffff, ALL, OWN),
            HeadEffect::Stored
        );
        assert_eq!(
            head.write(CURSOR_CONTROL, SHOW, ALL, OWN),
            HeadEffect::CursorChanged
        );
        assert_eq!(
            head.write(CURSOR_CONTROL, 0, ALL, OWN),
            HeadEffect::CursorChanged
        );
        assert_eq!(head.write(CURSOR_CONTROL, 0, ALL, OWN), HeadEffect::Stored);
    }

    #[test]
    fn cursor_that_ends_behind_the_vram_is_not_shown() {
        let mut head = registers();
        // 64 x 64 pixels of 4 bytes.
        for (offset, shown) in [
            ((16 << 20) - 0x4000, true),
            ((16 << 20) - 0x3fff, false),
            (ALL, false),
        ] {
            head.write(CURSOR_OFFSET, offset, ALL, OWN);
            head.write(CURSOR_CONTROL, SHOW, ALL, OWN);
            assert_eq!(head.cursor().is_some(), shown, "{offset:#x}");
        }
    }

    #[test]
    fn status_is_acknowledged_only_by_the_ones_of_the_access() {
        let mut head = registers();
        let acknowledged = head.write(INTERRUPT_STATUS, ALL, 0x02, OWN);
        assert_eq!(acknowledged, HeadEffect::Acknowledged(Interrupts::FLIP));
    }

    #[test]
    fn unknown_interrupts_are_not_enabled() {
        let mut head = registers();
        head.write(INTERRUPT_ENABLE, ALL, ALL, OWN);
        assert_eq!(
            head.read(INTERRUPT_ENABLE, &HeadView::default(), OWN),
            0b111
        );
    }
}
