//! What a guest and a device do to the model.

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;

use super::super::effect::Level;
use super::super::effect::MessageSource;
use super::super::sim::Delivery;
use super::super::traces::At;
use super::super::traces::Support;
use super::super::traces::TraceTarget;
use super::fault::Fault;
use super::function::Model;
use super::function::dword;
use super::function::le;
use super::function::log2;

fn plus(at: At, by: usize) -> At {
    let by = u16::try_from(by).unwrap();
    match at {
        At::Header(at) => At::Header(at + by),
        At::Msi(at) => At::Msi(at + by),
        At::Msix(at) => At::Msix(at + by),
        At::Table(at) => At::Table(at + by),
        At::Pba(at) => At::Pba(at + by),
    }
}

impl TraceTarget for Model {
    fn read(&mut self, at: At, data: &mut [u8]) {
        for (index, byte) in data.iter_mut().enumerate() {
            *byte = self.read_byte(plus(at, index));
        }
    }

    fn write(&mut self, at: At, data: &[u8]) {
        let in_bar = matches!(at, At::Table(_) | At::Pba(_));
        let word = matches!((at, data.len()), (At::Msix(2) | At::Msi(2), 2));
        let control = matches!(at, At::Msix(0..4) | At::Msi(0..4));
        let ignored = self.has(Fault::ControlTakesWordsOnly) && control && !word
            || self.has(Fault::IgnoresByteWrites) && !in_bar && data.len() == 1;
        if ignored {
            return;
        }
        let before = self.messages();
        let enabled = (self.msi_enabled(), self.msix_enabled());
        let masked: Vec<bool> = (0..self.pending_msix.len())
            .map(|vector| self.vector_masked(vector))
            .collect();
        for (index, byte) in data.iter().enumerate() {
            self.write_byte(plus(at, index), *byte);
        }
        if let Some(msi) = self
            .shape
            .msi
            .filter(|_| !self.has(Fault::AllocatesBeyondCapable))
        {
            let capable = log2(msi.vectors);
            let allocated = (self.msi[2] >> 4 & 7).min(capable);
            self.msi[2] = self.msi[2] & 0x8f | allocated << 4;
        }
        if let At::Table(at) = at {
            let vector = usize::from(at / 16);
            let entry = &self.table[vector * 16..];
            if !masked[vector] {
                let (address, data) = (le(&entry[..8]), dword(&entry[8..12]));
                self.latched[vector] = MsiMessage { address, data };
            }
            if masked[vector] && !self.vector_masked(vector) && self.has(Fault::FiresAtUnmask) {
                self.pending_msix[vector] = 1;
            }
        }
        if in_bar && self.has(Fault::IntxUnmasksAtBarAccess) {
            self.end_interrupts();
        }
        let after = self.messages();
        let changed = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after);
        self.updates += u32::try_from(changed.count()).unwrap();
        self.updates += u32::from(enabled != (self.msi_enabled(), self.msix_enabled()));
        if self.has(Fault::UpdatesEverythingEachTime) {
            self.updates += u32::try_from(after.len()).unwrap();
        }
        self.flush();
    }

    fn signal(&mut self, source: MessageSource) {
        let (events, held) = match source {
            MessageSource::Msi(vector) => {
                let vector = usize::from(vector.0);
                let held = self.msi_message(vector).is_none();
                (self.pending_msi.get_mut(vector), held)
            }
            MessageSource::Msix(vector) => {
                let vector = usize::from(vector.0);
                let held = self.msix_message(vector).is_none();
                (self.pending_msix.get_mut(vector), held)
            }
        };
        if let Some(events) = events {
            *events = match self.fault {
                Some(Fault::DropsMaskedEvents) if held => 0,
                Some(Fault::CountsMaskedEvents) => *events + 1,
                _ => 1,
            };
        }
        self.flush();
    }

    fn set_device(&mut self, level: Level) {
        self.device = level == Level::Asserted;
        self.flush();
    }

    fn eoi(&mut self, gsi: Gsi) {
        if !self.has(Fault::IntxIgnoresEoi) {
            let mut inputs = self.inputs.iter_mut();
            if let Some(input) = inputs.find(|input| input.gsi == gsi) {
                input.eoi();
            }
        }
        self.flush();
    }

    fn take_delivered(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.delivered)
    }

    fn reroute(&mut self, gsi: Gsi) -> Support {
        if !self.has(Fault::IntxPinIsFixed) {
            self.gsi = gsi;
        }
        self.flush();
        Support::Done
    }

    fn save_restore(&mut self) -> Support {
        match self.fault {
            Some(Fault::RestoreDropsPending) => {
                self.pending_msix.fill(0);
                self.pending_msi.fill(0);
            }
            Some(Fault::RestoreDropsFunctionMask) => self.msix_control[1] &= !0x40,
            Some(Fault::RestoreDoesNotArm) => self.armed = false,
            Some(Fault::RestoreDropsLine) => self.device = false,
            _ => {}
        }
        self.flush();
        Support::Done
    }

    fn reset(&mut self) -> Support {
        if !self.has(Fault::ResetDoesNothing) {
            self.device = false;
            self.reset_registers();
        }
        self.flush();
        Support::Done
    }

    fn take_updates(&mut self) -> Option<u32> {
        Some(std::mem::take(&mut self.updates))
    }
}
