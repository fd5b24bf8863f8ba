//! PCI configuration space: what the guest finds, and which bits of it are its own.
//!
//! A PCI Express function (root complex integrated endpoint) with capabilities for MSI-X, for
//! function level reset and, vendor-specific, for the vblank and flip block. Every byte has a mask
//! of writable bits, which sizes the BARs too. Reading has no effect.

use crate::msix_table;
use crate::registers;

/// Bytes of it.
pub(crate) const SIZE: usize = 0x1000;

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const CLASS: usize = 0x09;
const CACHE_LINE: usize = 0x0c;
const LATENCY: usize = 0x0d;
const BAR0: usize = 0x10;
const BAR2: usize = 0x18;
const BAR4: usize = 0x20;
const SUBSYSTEM_VENDOR: usize = 0x2c;
const SUBSYSTEM: usize = 0x2e;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;

const EXPRESS: usize = 0x40;
const EXPRESS_CONTROL: usize = EXPRESS + 0x08;
const MSIX: usize = 0x80;
const VENDOR: usize = 0x90;

/// Memory space, bus master, parity response, SERR#, INTx disable.
const COMMAND_WRITABLE: u16 = 0x0546;
/// All of device control but the reset: reporting, payload, request size and what goes with it.
const EXPRESS_CONTROL_WRITABLE: u16 = 0x7fff;
/// Initiate function level reset, in the upper byte of device control.
const FUNCTION_RESET: u8 = 0x80;
/// Relaxed ordering and no-snoop allowed, requests of 512 bytes.
const EXPRESS_CONTROL_DEFAULT: u16 = 0x2810;
/// Role-based error reporting, function level reset.
const EXPRESS_CAPABILITIES: u32 = 1 << 15 | 1 << 28;
/// MSI-X enable and function mask, in the upper byte of message control.
const MSIX_CONTROL_WRITABLE: u8 = 0xc0;

/// What a write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigEffect {
    /// Bytes were stored.
    Stored,
    /// The guest resets the function.
    Reset,
}

/// The bytes, and which of their bits can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigSpace {
    bytes: Vec<u8>,
    initial: Vec<u8>,
    writable: Vec<u8>,
}

impl ConfigSpace {
    /// That of a vGPU with `vram` bytes, a power of two of at least 4 KiB, and `vectors` MSI-X
    /// vectors, at least one.
    pub(crate) fn new(vram: u32, vectors: u16) -> Self {
        let mut layout = Layout::new();
        layout.header(vram);
        layout.express();
        layout.msix(vectors);
        layout.vendor();
        Self {
            bytes: layout.bytes.clone(),
            initial: layout.bytes,
            writable: layout.writable,
        }
    }

    /// As it was in the beginning.
    pub(crate) fn reset(&mut self) {
        self.bytes.copy_from_slice(&self.initial);
    }

    /// All of it, as it is saved.
    pub(crate) fn save(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// Takes back what was saved of the same device. Returns whether it is: nothing but what can be
    /// written differs from the beginning; if not, nothing is taken.
    #[must_use]
    pub(crate) fn restore(&mut self, saved: &[u8]) -> bool {
        let fixed = self.initial.iter().zip(&self.writable);
        let same = saved.len() == self.bytes.len()
            && fixed
                .zip(saved)
                .all(|((initial, writable), saved)| (initial ^ saved) & !writable == 0);
        if same {
            self.bytes.copy_from_slice(saved);
        }
        same
    }

    /// Reads `data.len()` bytes at `offset`, both within it.
    pub(crate) fn read(&self, offset: usize, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            *byte = self.bytes.get(at).copied().unwrap_or(0);
        }
    }

    /// Writes `data` at `offset`, both within it.
    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) -> ConfigEffect {
        let mut effect = ConfigEffect::Stored;
        for (at, byte) in (offset..).zip(data) {
            if at == EXPRESS_CONTROL + 1 && byte & FUNCTION_RESET != 0 {
                effect = ConfigEffect::Reset;
            }
            if let (Some(stored), Some(writable)) = (self.bytes.get_mut(at), self.writable.get(at))
            {
                *stored = *stored & !writable | byte & writable;
            }
        }
        effect
    }
}

/// A configuration space being laid out.
struct Layout {
    bytes: Vec<u8>,
    writable: Vec<u8>,
}

impl Layout {
    fn new() -> Self {
        Self {
            bytes: vec![0; SIZE],
            writable: vec![0; SIZE],
        }
    }

    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.bytes[at..at + N].copy_from_slice(&value);
    }

    fn open<const N: usize>(&mut self, at: usize, writable: [u8; N]) {
        self.writable[at..at + N].copy_from_slice(&writable);
    }

    fn header(&mut self, vram: u32) {
        self.put(0x00, 0x1234u16.to_le_bytes());
        self.put(0x02, 0x1111u16.to_le_bytes());
        self.open(COMMAND, COMMAND_WRITABLE.to_le_bytes());
        // There is a list of capabilities.
        self.put(STATUS, 0x0010u16.to_le_bytes());
        // From revision 2 on there are extended registers behind the display interface.
        self.put(REVISION, [2]);
        // Display controller, other.
        self.put(CLASS, [0x00, 0x80, 0x03]);
        self.open(CACHE_LINE, [0xff]);
        self.open(LATENCY, [0xff]);
        // Prefetchable memory, 32 bits.
        self.bar(BAR0, vram, 0x8);
        self.bar(BAR2, const_u32(registers::SIZE), 0);
        self.bar(BAR4, const_u32(msix_table::SIZE), 0);
        self.put(SUBSYSTEM_VENDOR, 0x1af4u16.to_le_bytes());
        self.put(SUBSYSTEM, 0x1100u16.to_le_bytes());
        self.put(CAPABILITIES, [const_u8(EXPRESS)]);
        self.open(INTERRUPT_LINE, [0xff]);
    }

    fn bar(&mut self, at: usize, size: u32, kind: u32) {
        self.put(at, kind.to_le_bytes());
        self.open(at, (!(size - 1) & !0xf).to_le_bytes());
    }

    fn express(&mut self) {
        self.put(EXPRESS, [0x10, const_u8(MSIX)]);
        // Version 2, root complex integrated endpoint.
        self.put(EXPRESS + 0x02, 0x0092u16.to_le_bytes());
        self.put(EXPRESS + 0x04, EXPRESS_CAPABILITIES.to_le_bytes());
        self.put(EXPRESS_CONTROL, EXPRESS_CONTROL_DEFAULT.to_le_bytes());
        self.open(EXPRESS_CONTROL, EXPRESS_CONTROL_WRITABLE.to_le_bytes());
    }

    fn msix(&mut self, vectors: u16) {
        self.put(MSIX, [0x11, const_u8(VENDOR)]);
        self.put(MSIX + 0x02, (vectors - 1).to_le_bytes());
        self.open(MSIX + 0x03, [MSIX_CONTROL_WRITABLE]);
        // Offset, and in the lower bits the BAR.
        self.put(MSIX + 0x04, 4u32.to_le_bytes());
        self.put(MSIX + 0x08, (const_u32(msix_table::PBA) | 4).to_le_bytes());
    }

    fn vendor(&mut self) {
        // The last one; 16 bytes long.
        self.put(VENDOR, [0x09, 0, 16, 0]);
        self.put(VENDOR + 0x04, registers::MAGIC.to_le_bytes());
        self.put(
            VENDOR + 0x08,
            (const_u32(registers::BLOCK) | 2).to_le_bytes(),
        );
        let len = registers::SIZE - registers::BLOCK;
        self.put(VENDOR + 0x0c, const_u32(len).to_le_bytes());
    }
}

#[expect(clippy::cast_possible_truncation, reason = "of constants below 2^16")]
const fn const_u32(value: usize) -> u32 {
    value as u32
}

#[expect(clippy::cast_possible_truncation, reason = "of offsets below 2^8")]
const fn const_u8(value: usize) -> u8 {
    value as u8
}

#[cfg(test)]
mod tests;
