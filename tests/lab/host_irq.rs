//! How often a device interrupted this machine, as its kernel counts.

use std::fs;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio::IndexProducers;
use irqbroker_vfio::abi::IrqIndex;

const INTERRUPTS: &str = "/proc/interrupts";

/// One interrupt of a device given to VFIO; there from its first binding until its index is disabled.
#[derive(Debug, Clone)]
pub(crate) struct HostIrq(String);

impl HostIrq {
    /// That of a sub-index of a PCI device.
    pub(crate) fn of(index: &IndexProducers, sub_index: u32) -> Self {
        // `0000:00:05.0.msix`, of which the kernel makes `vfio-msix[3](0000:00:05.0)`.
        let name = index.name();
        let (address, kind) = name.rsplit_once('.').unwrap_or((&name, ""));
        Self(match index.info().index {
            IrqIndex::INTX => format!("vfio-{kind}({address})"),
            _ => format!("vfio-{kind}[{sub_index}]({address})"),
        })
    }

    /// Interrupts so far, on all processors.
    pub(crate) fn count(&self) -> anyhow::Result<u64> {
        let table = fs::read_to_string(INTERRUPTS)?;
        let line = table.lines().find(|line| line.ends_with(&self.0));
        let line = line.with_context(|| format!("{INTERRUPTS} has no {}", self.0))?;
        // Its number and a colon, a count for each processor, chip and name.
        let counts = line.split_whitespace().skip(1);
        let counts: Vec<u64> = counts.map_while(|count| count.parse().ok()).collect();
        ensure!(!counts.is_empty(), "no counts: {line}");
        Ok(counts.iter().sum())
    }
}
