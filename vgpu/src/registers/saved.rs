//! Registers taken back from where they were saved: only such as a guest can have written.

use crate::cursor::Cursor;
use crate::registers::Registers;
use crate::registers::dispi::Dispi;
use crate::registers::head_registers::HeadRegisters;
use crate::scanout::Scanout;

impl Registers {
    /// Takes over what was saved, but for the EDIDs, which are saved with the monitors. Returns
    /// whether it can be; if not, nothing is.
    #[must_use]
    pub(crate) fn restore(&mut self, saved: Self) -> bool {
        let head = usize::try_from(saved.edid_head).unwrap_or(usize::MAX);
        let sound = saved.vram == self.vram
            && saved.heads.len() == self.heads.len()
            && head < self.heads.len()
            && saved.dispi.is_sound(&self.dispi)
            && saved.heads.iter().all(|head| head.is_sound(self.vram));
        if sound {
            *self = Self {
                edids: std::mem::take(&mut self.edids),
                ..saved
            };
        }
        sound
    }
}

impl Dispi {
    fn is_sound(&self, here: &Self) -> bool {
        self.vram == here.vram && self.has_words_as(here) && fits(self.shown, self.vram)
    }
}

impl HeadRegisters {
    fn is_sound(&self, vram: u64) -> bool {
        let cursor = self.cursor();
        let cursor_end = cursor.map_or(0, |cursor| cursor.offset.saturating_add(Cursor::BYTES));
        self.vram == vram
            && self.has_known_interrupts()
            && cursor_end <= vram
            && fits(self.shown(), vram)
    }
}

fn fits(shown: Option<Scanout>, vram: u64) -> bool {
    shown.is_none_or(|shown| shown.within(vram).is_some())
}
