//! What the model holds and when it delivers.

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;

use super::super::effect::Level;
use super::super::sim::Delivery;
use super::super::sim::SimInput;
use super::super::traces::LINE;
use super::super::traces::OTHER_LINE;
use super::super::traces::Shape;
use super::fault::Fault;

#[derive(Debug, Clone)]
pub(in crate::pci) struct Model {
    pub(super) shape: Shape,
    pub(super) fault: Option<Fault>,
    pub(super) header: [u8; 64],
    pub(super) msi: [u8; 24],
    pub(super) msix_control: [u8; 2],
    pub(super) table: Vec<u8>,
    /// What an implementation that caches messages would have cached.
    pub(super) latched: Vec<MsiMessage>,
    pub(super) pending_msix: Vec<u32>,
    pub(super) pending_msi: [u32; 32],
    pub(super) armed: bool,
    pub(super) device: bool,
    pub(super) gsi: Gsi,
    pub(super) inputs: [SimInput; 2],
    pub(super) delivered: Vec<Delivery>,
    pub(super) updates: u32,
}

/// A little-endian number.
pub(super) fn le(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

pub(super) fn dword(bytes: &[u8]) -> u32 {
    u32::try_from(le(bytes)).unwrap()
}

pub(super) fn log2(vectors: u8) -> u8 {
    u8::try_from(vectors.trailing_zeros()).unwrap()
}

impl Model {
    pub(in crate::pci) fn new(shape: &Shape, fault: Option<Fault>) -> Self {
        let vectors = usize::from(shape.msix.unwrap_or(0));
        let mut model = Self {
            shape: *shape,
            fault,
            header: [0; 64],
            msi: [0; 24],
            msix_control: [0; 2],
            table: Vec::new(),
            latched: vec![
                MsiMessage {
                    address: 0,
                    data: 0
                };
                vectors
            ],
            pending_msix: vec![0; vectors],
            pending_msi: [0; 32],
            armed: true,
            device: false,
            gsi: LINE,
            inputs: [SimInput::new(LINE), SimInput::new(OTHER_LINE)],
            delivered: Vec::new(),
            updates: 0,
        };
        model.reset_registers();
        model
    }

    pub(super) fn reset_registers(&mut self) {
        let vectors = self.shape.msix.unwrap_or(1);
        self.msix_control = (vectors - 1).to_le_bytes();
        self.table = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0].repeat(vectors.into());
        self.header = [0; 64];
        self.header[0x3d] = self.shape.intx.into();
        self.msi = [0; 24];
        if let Some(msi) = self.shape.msi {
            let log2 = log2(msi.vectors);
            self.msi[2] = log2 << 1 | u8::from(msi.address_64) << 7;
            self.msi[3] = u8::from(msi.per_vector_masking) | u8::from(msi.extended_data) << 1;
        }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(super) fn msix_enabled(&self) -> bool {
        self.shape.msix.is_some() && self.msix_control[1] & 0x80 != 0
    }

    pub(super) fn msi_enabled(&self) -> bool {
        self.shape.msi.is_some() && self.msi[2] & 1 != 0
    }

    pub(super) fn vector_masked(&self, vector: usize) -> bool {
        self.table[vector * 16 + 12] & 1 != 0
    }

    pub(super) fn msix_message(&self, vector: usize) -> Option<MsiMessage> {
        let entry = self.table.get(vector * 16..vector * 16 + 16)?;
        let function_masked = self.msix_control[1] & 0x40 != 0;
        let enabled = self.msix_enabled() || self.has(Fault::DisableDoesNothing);
        let held = !enabled
            || !self.armed
            || function_masked && !self.has(Fault::IgnoresFunctionMask)
            || self.vector_masked(vector) && !self.has(Fault::IgnoresVectorMask);
        if held {
            return None;
        }
        if self.has(Fault::DropsMessageWrittenWhileMasked) {
            return Some(self.latched[vector]);
        }
        let address = match self.has(Fault::IgnoresUpperAddress) {
            true => le(&entry[..4]),
            false => le(&entry[..8]),
        };
        let data = dword(&entry[8..12]);
        Some(MsiMessage { address, data })
    }

    /// Where data, mask bits and pending bits of the MSI capability are.
    pub(super) fn msi_places(&self) -> (usize, usize, usize) {
        match self.msi[2] & 0x80 {
            0 => (8, 12, 16),
            _ => (12, 16, 20),
        }
    }

    pub(super) fn msi_message(&self, vector: usize) -> Option<MsiMessage> {
        let (data_at, mask_at, _) = self.msi_places();
        let log2 = self.msi[2] >> 4 & 7;
        let maskable = self.msi[3] & 1 != 0 && !self.has(Fault::IgnoresMsiMask);
        let masked = maskable && le(&self.msi[mask_at..mask_at + 4]) >> vector & 1 != 0;
        if !self.msi_enabled() || self.msix_enabled() || vector >= 1 << log2 || masked {
            return None;
        }
        let wide = self.msi[3] & 4 != 0;
        let data = dword(&self.msi[data_at..data_at + if wide { 4 } else { 2 }]);
        let low = (1 << log2) - 1;
        let data = match self.has(Fault::OneMessageForAll) {
            true => data,
            false => data & !low | u32::try_from(vector).unwrap(),
        };
        let high = data_at == 12 && !self.has(Fault::IgnoresUpperAddress);
        let address = le(&self.msi[4..if high { 12 } else { 8 }]);
        Some(MsiMessage { address, data })
    }

    pub(super) fn line(&self) -> bool {
        let disabled = self.header[5] & 4 != 0 && !self.has(Fault::IntxIgnoresDisable);
        let messages = self.msi_enabled() || self.msix_enabled();
        let messages = messages && !self.has(Fault::IntxBesidesMessages);
        self.shape.intx && self.device && !disabled && !messages
    }

    /// Delivers whatever can be.
    pub(super) fn flush(&mut self) {
        for vector in 0..self.pending_msix.len() {
            if let Some(message) = self.msix_message(vector) {
                let events = std::mem::take(&mut self.pending_msix[vector]) as usize;
                let messages = std::iter::repeat_n(Delivery::Message(message), events);
                self.delivered.extend(messages);
            }
        }
        for vector in 0..32 {
            if let Some(message) = self.msi_message(vector) {
                let events = std::mem::take(&mut self.pending_msi[vector]) as usize;
                let messages = std::iter::repeat_n(Delivery::Message(message), events);
                self.delivered.extend(messages);
            }
        }
        let (line, gsi) = (self.line(), self.gsi);
        for input in &mut self.inputs {
            let level = match line && input.gsi == gsi {
                true => Level::Asserted,
                false => Level::Deasserted,
            };
            self.delivered.extend(input.set(level));
        }
    }

    pub(super) fn messages(&self) -> Vec<Option<MsiMessage>> {
        let msix = (0..self.pending_msix.len()).map(|vector| self.msix_message(vector));
        msix.chain((0..32).map(|vector| self.msi_message(vector)))
            .collect()
    }

    pub(super) fn end_interrupts(&mut self) {
        for input in &mut self.inputs {
            input.eoi();
        }
    }
}
