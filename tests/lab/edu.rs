//! QEMU's `edu` device: one interrupt, raised and acknowledged by register (docs/specs/edu.rst).

use std::sync::Arc;

use anyhow::ensure;
use irqbroker_vfio::abi::Device;

use crate::registers::Registers;

/// Vendor and device id.
pub(crate) const ID: (u16, u16) = (0x1234, 0x11e8);

const LIVENESS: u64 = 0x04;
/// Causes that stand.
const STATUS: u64 = 0x24;
/// Adds causes, and signals.
pub(crate) const RAISE: u64 = 0x60;
/// Takes causes away; with none left the INTx line falls.
pub(crate) const ACKNOWLEDGE: u64 = 0x64;

/// The device, alive.
#[derive(Debug, Clone)]
pub(crate) struct Edu(Registers);

impl Edu {
    pub(crate) fn new(device: Arc<dyn Device>) -> anyhow::Result<Self> {
        let registers = Registers::of(device)?;
        // It answers with the complement of what was written.
        registers.write(LIVENESS, 0x5a5a_0f0f)?;
        let answer = registers.read(LIVENESS)?;
        ensure!(answer == !0x5a5a_0f0f, "edu is not alive: {answer:#x}");
        let edu = Self(registers);
        edu.acknowledge(edu.causes()?)?;
        Ok(edu)
    }

    pub(crate) fn raise(&self, causes: u32) -> anyhow::Result<()> {
        self.0.write(RAISE, causes)
    }

    pub(crate) fn causes(&self) -> anyhow::Result<u32> {
        self.0.read(STATUS)
    }

    pub(crate) fn acknowledge(&self, causes: u32) -> anyhow::Result<()> {
        self.0.write(ACKNOWLEDGE, causes)
    }
}
