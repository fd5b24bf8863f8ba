//! How often a device interrupted this machine, as its kernel counts.

use std::fs;

use anyhow::Context;
use anyhow::bail;
use irqbroker_vfio::abi::IrqIndex;

const INTERRUPTS: &str = "/proc/interrupts";

/// One interrupt of a device given to VFIO; its row is there while its index is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostIrq(String);

impl HostIrq {
    /// The rows of the first `lines` sub-indexes of a PCI device's index.
    pub(super) fn all(device: &str, index: IrqIndex, lines: usize) -> anyhow::Result<Vec<Self>> {
        let kind = match index {
            IrqIndex::MSI => "vfio-msi",
            IrqIndex::MSIX => "vfio-msix",
            _ => bail!(
                "{INTERRUPTS} counts MSI and MSI-X only, and without a count of what the device \
                 sent nothing can be judged; leave --listen out"
            ),
        };
        Ok((0..lines)
            .map(|line| Self(format!("{kind}[{line}]({device})")))
            .collect())
    }

    /// Interrupts so far, on all processors.
    pub(super) fn count(&self) -> anyhow::Result<u64> {
        let table = fs::read_to_string(INTERRUPTS).context("cannot read /proc/interrupts")?;
        count(&table, &self.0).with_context(|| format!("{INTERRUPTS} has no row {}", self.0))
    }
}

/// The sum of the row called `name`.
fn count(table: &str, name: &str) -> Option<u64> {
    let row = table.lines().find(|row| row.ends_with(name))?;
    // The number and a colon, a count for each processor, then the chip.
    let counts = row.split_whitespace().skip(1);
    Some(counts.map_while(|count| count.parse::<u64>().ok()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
           CPU0       CPU1
  4:         12          0  IO-APIC   4-edge      ttyS0
 25:          3          4  IR-PCI-MSIX-0000:00:05.0   1-edge      vfio-msix[1](0000:00:05.0)
 26:          5          6  IR-PCI-MSIX-0000:00:05.0  11-edge      vfio-msix[11](0000:00:05.0)
";

    #[test]
    fn count_is_the_sum_over_all_processors_of_the_row_of_that_name() {
        assert_eq!(count(TABLE, "vfio-msix[1](0000:00:05.0)"), Some(7));
        assert_eq!(count(TABLE, "vfio-msix[11](0000:00:05.0)"), Some(11));
        assert_eq!(count(TABLE, "vfio-msix[2](0000:00:05.0)"), None);
    }

    #[test]
    fn all_of_an_index_that_is_not_counted_by_sub_index_is_refused() {
        HostIrq::all("0000:00:05.0", IrqIndex::ERR, 1).unwrap_err();
        let rows = HostIrq::all("0000:00:05.0", IrqIndex::MSI, 2).unwrap();
        assert_eq!(rows[1], HostIrq("vfio-msi[1](0000:00:05.0)".into()));
    }
}
