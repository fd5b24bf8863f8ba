//! The register BAR, as a state machine from accesses to values and effects.
//!
//! ```text
//!  0x000  EDID of a head, 1 KiB            0x600  size of the two extended registers: 8
//!  0x400  VGA ports 0x3c0 to 0x3df         0x604  byte order of the pixels
//!  0x500  Bochs display interface          0x800  vblank and flip block: global words
//!                                          0x900  the same: 64 bytes for each head
//! ```
//!
//! An access may have any width at any place: it is cut into the registers it touches, in
//! ascending order, and a part of a register is written like the whole with the rest as it was.
//! Elsewhere reads give 0 and writes do nothing.

mod dispi;
mod effect;
mod head_registers;
mod saved;
mod vga_ports;

use serde::Deserialize;
use serde::Serialize;

use dispi::Dispi;
use dispi::DispiEffect;
use dispi::Endian;
pub(crate) use effect::Effect;
pub(crate) use effect::Interrupts;
use head_registers::HeadEffect;
use head_registers::HeadRegisters;
pub(crate) use head_registers::HeadView;
pub use head_registers::Monitor;
use head_registers::PlaneSource;
use vga_ports::Screen;
use vga_ports::VgaPorts;

use crate::cursor::Cursor;
use crate::head::HeadId;
use crate::instance::MAX_HEADS;
use crate::scanout::Scanout;

/// Bytes of the BAR.
pub(crate) const SIZE: usize = 0x1000;
/// Where the vblank and flip block begins; told in configuration space too.
pub(crate) const BLOCK: usize = 0x800;

const EDID_END: usize = 0x400;
const PORTS: usize = 0x400;
const PORTS_END: usize = PORTS + vga_ports::PORTS;
const DISPI: usize = 0x500;
const DISPI_END: usize = DISPI + 2 * dispi::WORDS;
/// Behind the half of four bytes that the last word leaves free.
const DISPI_GAP_END: usize = DISPI_END.next_multiple_of(4);
const EXTENDED_SIZE: usize = 0x600;
const ENDIAN: usize = 0x604;
const HEADS: usize = 0x900;
const HEADS_END: usize = HEADS + MAX_HEADS * head_registers::STRIDE;

/// In the block: the head whose EDID is shown.
const EDID_HEAD: usize = 0x18;
const EDID_HEAD_REGISTER: usize = BLOCK + EDID_HEAD;

/// "VGPU", in the order of its bytes.
pub(crate) const MAGIC: u32 = u32::from_le_bytes(*b"VGPU");
/// Major version in the upper half: a driver refuses one that it does not know.
const VERSION: u32 = 0x0001_0001;

/// All registers of the BAR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registers {
    /// By head: what is there while a monitor is plugged in.
    #[serde(skip)]
    edids: Vec<Vec<u8>>,
    /// Whose is shown.
    edid_head: u32,
    vram: u64,
    dispi: Dispi,
    ports: VgaPorts,
    endian: Endian,
    heads: Vec<HeadRegisters>,
}

impl Registers {
    /// Registers of `heads` heads over `vram` bytes, with no EDID.
    pub(crate) fn new(vram: u64, heads: usize) -> Self {
        Self {
            edids: vec![Vec::new(); heads],
            edid_head: 0,
            vram,
            dispi: Dispi::new(vram),
            ports: VgaPorts::default(),
            endian: Endian::default(),
            heads: vec![HeadRegisters::new(vram); heads],
        }
    }

    /// As they were in the beginning.
    pub(crate) fn reset(&mut self) {
        let edids = std::mem::take(&mut self.edids);
        *self = Self {
            edids,
            ..Self::new(self.vram, self.heads.len())
        };
    }

    /// What the guest finds at a head whose monitor is plugged in.
    pub(crate) fn set_edid(&mut self, head: HeadId, edid: &[u8]) {
        if let Some(known) = self.edids.get_mut(usize::from(head.0)) {
            edid.clone_into(known);
        }
    }

    /// How many heads' views a read of the EDID looks at.
    pub(crate) fn edid_views(&self) -> usize {
        usize::try_from(self.edid_head).unwrap_or(0) + 1
    }

    /// Reads `data.len()` bytes at `offset`, both within the BAR. `views` has one for each head.
    pub(crate) fn read(&mut self, offset: usize, data: &mut [u8], views: &[HeadView]) {
        let mut done = 0;
        while done < data.len() {
            let (start, width) = register_at(offset + done);
            let skip = offset + done - start;
            let take = (width - skip).min(data.len() - done);
            let bytes = self.read_register(start, views).to_le_bytes();
            data[done..done + take].copy_from_slice(&bytes[skip..skip + take]);
            done += take;
        }
    }

    /// Writes `data` at `offset`, both within the BAR, and appends what that comes to.
    pub(crate) fn write(&mut self, offset: usize, data: &[u8], effects: &mut Vec<Effect>) {
        let mut done = 0;
        while done < data.len() {
            let (start, width) = register_at(offset + done);
            let skip = offset + done - start;
            let take = (width - skip).min(data.len() - done);
            let (mut value, mut mask) = ([0; 4], [0; 4]);
            value[skip..skip + take].copy_from_slice(&data[done..done + take]);
            mask[skip..skip + take].fill(0xff);
            let before = self.shown(HeadId(0));
            let first = effects.len();
            self.write_register(
                start,
                u32::from_le_bytes(value),
                u32::from_le_bytes(mask),
                effects,
            );
            let told = effects[first..].contains(&Effect::Commit(HeadId(0)));
            if !told && before != self.shown(HeadId(0)) {
                effects.push(Effect::PictureChanged(HeadId(0)));
            }
            done += take;
        }
    }

    /// What a head shows.
    pub(crate) fn shown(&self, head: HeadId) -> Option<Scanout> {
        match head {
            HeadId(0) => match self.ports.screen() {
                Screen::Shown => self.dispi.shown(),
                Screen::Blank => None,
            },
            HeadId(head) => self.heads.get(usize::from(head))?.shown(),
        }
    }

    /// The cursor of a head, if it is shown.
    pub(crate) fn cursor(&self, head: HeadId) -> Option<Cursor> {
        self.heads.get(usize::from(head.0))?.cursor()
    }

    /// Which events of a head are to interrupt the guest.
    pub(crate) fn enabled(&self, head: HeadId) -> Interrupts {
        let head = self.heads.get(usize::from(head.0));
        head.map_or(Interrupts::empty(), HeadRegisters::enabled)
    }

    /// The value of the register that begins at `start`; of a narrow one in the lower bytes.
    fn read_register(&mut self, start: usize, views: &[HeadView]) -> u32 {
        match start {
            0..EDID_END => u32::from(self.read_edid(start, views)),
            PORTS..PORTS_END => u32::from(self.ports.read(start - PORTS)),
            DISPI..DISPI_END => u32::from(self.dispi.read((start - DISPI) / 2)),
            EXTENDED_SIZE => 8,
            ENDIAN => self.endian.to_register(),
            BLOCK..HEADS => self.read_global(start - BLOCK, views),
            HEADS..HEADS_END => {
                let (head, word) = head_at(start);
                match (self.heads.get(head), views.get(head)) {
                    (Some(registers), Some(view)) => {
                        registers.read(word, view, self.plane_source(head))
                    }
                    _ => 0,
                }
            }
            _ => 0,
        }
    }

    fn read_edid(&self, offset: usize, views: &[HeadView]) -> u8 {
        let head = usize::try_from(self.edid_head).unwrap_or(0);
        match (views.get(head), self.edids.get(head)) {
            (Some(view), Some(edid)) if view.monitor == Monitor::Plugged => {
                edid.get(offset).copied().unwrap_or(0)
            }
            _ => 0,
        }
    }

    fn read_global(&self, word: usize, views: &[HeadView]) -> u32 {
        // At most MAX_HEADS, 16.
        let heads = u32::try_from(self.heads.len()).unwrap_or(0);
        match word {
            0x00 => MAGIC,
            0x04 => VERSION,
            0x08 => const_u32(head_registers::STRIDE) << 16 | heads,
            0x0c => const_u32(HEADS),
            0x10 => Interrupts::all().bits(),
            0x14 => (0..heads)
                .zip(self.heads.iter().zip(views))
                .filter(|(_, (head, view))| head.enabled().intersects(view.status))
                .fold(0, |pending, (head, _)| pending | 1 << head),
            EDID_HEAD => self.edid_head,
            _ => 0,
        }
    }

    fn write_register(&mut self, start: usize, value: u32, mask: u32, effects: &mut Vec<Effect>) {
        match start {
            PORTS..PORTS_END => {
                let [byte, ..] = value.to_le_bytes();
                self.ports.write(start - PORTS, byte);
            }
            DISPI..DISPI_END => self.write_dispi((start - DISPI) / 2, value, mask, effects),
            ENDIAN => {
                let value = self.endian.to_register() & !mask | value & mask;
                if let Some(endian) = Endian::from_register(value)
                    && endian != self.endian
                {
                    self.endian = endian;
                    self.dispi.take_over(endian);
                }
            }
            EDID_HEAD_REGISTER => {
                let value = self.edid_head & !mask | value & mask;
                if usize::try_from(value).is_ok_and(|head| head < self.heads.len()) {
                    self.edid_head = value;
                }
            }
            HEADS..HEADS_END => self.write_head(start, value, mask, effects),
            _ => {}
        }
    }

    fn write_dispi(&mut self, word: usize, value: u32, mask: u32, effects: &mut Vec<Effect>) {
        let value = u32::from(self.dispi.stored(word)) & !mask | value & mask;
        // A word is 16 bits wide, and so are its value and mask.
        let value = u16::try_from(value).unwrap_or(0);
        match self.dispi.write(word, value, self.endian) {
            DispiEffect::Enabled { clear } if clear != 0 => {
                effects.push(Effect::ClearVram { len: clear });
            }
            DispiEffect::Commit => effects.push(Effect::Commit(HeadId(0))),
            _ => {}
        }
    }

    fn write_head(&mut self, start: usize, value: u32, mask: u32, effects: &mut Vec<Effect>) {
        let (head, word) = head_at(start);
        let source = self.plane_source(head);
        let (Some(registers), Ok(id)) = (self.heads.get_mut(head), u8::try_from(head)) else {
            return;
        };
        let id = HeadId(id);
        match registers.write(word, value, mask, source) {
            HeadEffect::Stored => {}
            HeadEffect::Commit => effects.push(Effect::Commit(id)),
            HeadEffect::CursorChanged => effects.push(Effect::CursorChanged(id)),
            HeadEffect::InterruptsEnabled => effects.push(Effect::InterruptsEnabled(id)),
            HeadEffect::Acknowledged(which) => effects.push(Effect::Acknowledged(id, which)),
        }
    }

    fn plane_source(&self, head: usize) -> PlaneSource {
        match head {
            0 => PlaneSource::Dispi(self.shown(HeadId(0))),
            _ => PlaneSource::Own,
        }
    }
}

/// Where the register that `offset` lies in begins, and how wide it is.
fn register_at(offset: usize) -> (usize, usize) {
    let width = match offset {
        0..PORTS_END => 1,
        DISPI..DISPI_GAP_END => 2,
        _ => 4,
    };
    (offset - offset % width, width)
}

/// Head and word of a register in the heads' part.
fn head_at(start: usize) -> (usize, usize) {
    let within = start - HEADS;
    (
        within / head_registers::STRIDE,
        within % head_registers::STRIDE,
    )
}

#[expect(clippy::cast_possible_truncation, reason = "of constants below 2^16")]
const fn const_u32(value: usize) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests;
