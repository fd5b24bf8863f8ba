//! The little of configuration space that interrupts depend on.

use crate::bus_master::COMMAND;

/// Bytes of conventional configuration space.
pub(super) const SIZE: usize = 256;
const STATUS: usize = 6;
/// Bus master enable, in the command register (PCI Local Bus 3.0, 6.2.2).
const BUS_MASTER: u16 = 1 << 2;
/// Interrupt disable, in the command register.
const DIS_INTX: u16 = 1 << 10;
/// Interrupt status, in the status register (6.2.3).
const INTX_STATUS: u16 = 1 << 3;

/// Configuration space as a user of VFIO sees it.
#[derive(Debug)]
pub(super) struct Config {
    bytes: [u8; SIZE],
}

impl Config {
    pub(super) fn new() -> Self {
        let mut bytes = [0; SIZE];
        // The id of QEMU's edu device: known, and no driver's business.
        bytes[..4].copy_from_slice(&0x11e8_1234u32.to_le_bytes());
        Self { bytes }
    }

    pub(super) fn read(&self, at: usize, data: &mut [u8], intx_asserted: bool) {
        let mut seen = self.bytes;
        if intx_asserted {
            seen[STATUS] |= INTX_STATUS.to_le_bytes()[0];
        }
        data.copy_from_slice(&seen[at..at + data.len()]);
    }

    /// Only the command register is writable.
    pub(super) fn write(&mut self, at: usize, data: &[u8]) {
        for (at, byte) in (at..).zip(data) {
            if (COMMAND..STATUS).contains(&at) {
                self.bytes[at] = *byte;
            }
        }
    }

    /// What opening and resetting a device does.
    pub(super) fn reset(&mut self) {
        self.bytes[COMMAND..STATUS].fill(0);
    }

    pub(super) fn is_bus_master(&self) -> bool {
        self.command() & BUS_MASTER != 0
    }

    pub(super) fn disables_intx(&self) -> bool {
        self.command() & DIS_INTX != 0
    }

    fn command(&self) -> u16 {
        u16::from_le_bytes([self.bytes[COMMAND], self.bytes[COMMAND + 1]])
    }
}
