//! The model's registers, byte by byte.

use super::super::traces::At;
use super::fault::Fault;
use super::function::Model;

impl Model {
    pub(super) fn write_byte(&mut self, at: At, new: u8) {
        let set = |held: &mut u8, bits: u8| *held = *held & !bits | new & bits;
        let (data_at, mask_at, pending_at) = self.msi_places();
        match at {
            At::Header(5) if self.shape.intx => set(&mut self.header[5], 4),
            At::Header(0x3c) if self.shape.intx => set(&mut self.header[0x3c], 0xff),
            At::Header(_) | At::Pba(_) => {}
            At::Msix(2) if self.has(Fault::SizeIsWritable) => set(&mut self.msix_control[0], 0xff),
            At::Msix(3) => set(&mut self.msix_control[1], 0xc0),
            At::Msix(_) => {}
            At::Table(at) => match at % 16 {
                0 => set(&mut self.table[usize::from(at)], 0xfc),
                1..12 => set(&mut self.table[usize::from(at)], 0xff),
                12 => set(&mut self.table[usize::from(at)], 1),
                _ => {}
            },
            At::Msi(at) => {
                let at = usize::from(at);
                let vectors = self.shape.msi.map_or(0, |msi| msi.vectors);
                let maskable = self.msi[3] & 1 != 0;
                let wide = self.msi[3] & 2 != 0;
                match at {
                    2 => set(&mut self.msi[2], 0x71),
                    3 if wide => set(&mut self.msi[3], 4),
                    4 => set(&mut self.msi[4], 0xfc),
                    _ if (5..data_at).contains(&at) => set(&mut self.msi[at], 0xff),
                    _ if (data_at..data_at + 2).contains(&at) => set(&mut self.msi[at], 0xff),
                    _ if wide && (data_at + 2..mask_at).contains(&at) => {
                        set(&mut self.msi[at], 0xff);
                    }
                    _ if maskable && (mask_at..pending_at).contains(&at) => {
                        let all = ((1u64 << vectors) - 1).to_le_bytes();
                        set(&mut self.msi[at], all[at - mask_at]);
                    }
                    _ => {}
                }
            }
        }
    }

    pub(super) fn read_byte(&mut self, at: At) -> u8 {
        match at {
            At::Header(6) => {
                let shown = self.device && self.shape.intx;
                let hidden = self.has(Fault::IntxStatusHidden) && !self.line();
                if shown && !hidden { 8 } else { 0 }
            }
            At::Header(at) => self.header[usize::from(at)],
            At::Msix(at @ 2..4) => self.msix_control[usize::from(at) - 2],
            At::Msix(_) => 0,
            At::Table(at) => self.table[usize::from(at)],
            At::Msi(at) => {
                let at = usize::from(at);
                let (_, _, pending_at) = self.msi_places();
                if self.msi[3] & 1 == 0 || at < pending_at {
                    return self.msi[at];
                }
                let first = (at - pending_at) * 8;
                let bits = first..first + 8;
                bits.rev().fold(0, |byte, vector| {
                    byte << 1 | u8::from(self.pending_msi[vector] != 0)
                })
            }
            At::Pba(at) if self.has(Fault::PbaOfFirst64Only) && at >= 8 => 0,
            At::Pba(_) if self.has(Fault::PbaIsZero) => 0,
            At::Pba(at) => {
                let first = usize::from(at) * 8;
                let bits = (first..first + 8).rev();
                let byte = bits.fold(0, |byte, vector| {
                    let events = self.pending_msix.get(vector).copied();
                    byte << 1 | u8::from(events.is_some_and(|events| events != 0))
                });
                if self.has(Fault::PbaReadDrains) {
                    self.pending_msix
                        .iter_mut()
                        .skip(first)
                        .take(8)
                        .for_each(|events| *events = 0);
                }
                byte
            }
        }
    }
}
