//! Intel's 82574 network card as QEMU emulates it: five MSI-X vectors, raised by register.
//!
//! Register names and numbers are those of the 82574 datasheet, §10.2.

use std::sync::Arc;

use irqbroker_vfio::abi::Device;

use crate::registers::Registers;

/// Vendor and device id.
pub(crate) const ID: (u16, u16) = (0x8086, 0x10d3);
/// MSI-X vectors: two receive queues, two transmit queues, and the rest.
pub(crate) const VECTORS: u32 = 5;

/// Interrupt cause read; reading clears.
const ICR: u64 = 0xc0;
/// Interrupt cause set: raises as if the cause had come.
const ICS: u64 = 0xc8;
/// Interrupt mask set.
const IMS: u64 = 0xd0;
/// Causes that are cleared by the message that tells of them.
const EIAC: u64 = 0xdc;
/// Which cause goes to which vector.
const IVAR: u64 = 0xe4;

/// Four bits per cause, from bit 0: vector number and a valid bit. Cause n goes to vector n.
const EACH_ITS_OWN: u32 = 0xc_ba98;
/// The causes that have vectors are bits 20 to 24, in the order of [`IVAR`].
const FIRST_CAUSE: u32 = 20;
const CAUSES: u32 = 0x1f << FIRST_CAUSE;

/// The card, with a vector for each cause.
#[derive(Debug, Clone)]
pub(crate) struct E1000e(Registers);

impl E1000e {
    pub(crate) fn new(device: Arc<dyn Device>) -> anyhow::Result<Self> {
        let registers = Registers::of(device)?;
        registers.write(IVAR, EACH_ITS_OWN)?;
        registers.write(EIAC, CAUSES)?;
        registers.read(ICR)?;
        Ok(Self(registers))
    }

    /// Makes the card raise a vector, once or twice: QEMU's sends the message again when its throttling
    /// timer runs out (`hw/net/e1000e_core.c`), 128 us later.
    pub(crate) fn raise(&self, vector: u32) -> anyhow::Result<()> {
        // The message before took its cause out of the mask, as it does with a real card.
        self.0.write(IMS, CAUSES)?;
        self.0.write(ICS, 1 << (FIRST_CAUSE + vector))
    }
}
