//! How often a device interrupted this machine, as its kernel counts.

use std::fmt;
use std::fs;
use std::io;

use irqbroker_vfio_abi::IrqIndex;

const INTERRUPTS: &str = "/proc/interrupts";

/// An interrupt of a PCI device given to VFIO, by the name of its row in `/proc/interrupts`.
///
/// An independent count of what a device sent, also where the kernel delivers past the broker. The
/// row is there while the vector has an eventfd, and begins anew each time it gets one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostIrq(String);

/// The kernel's count could not be had.
#[derive(Debug, thiserror::Error)]
pub enum HostIrqError {
    /// The table cannot be read.
    #[error("cannot read {INTERRUPTS}")]
    Table(#[source] io::Error),
    /// The interrupt is not set up.
    #[error("{INTERRUPTS} has no row {name}")]
    NoRow {
        /// Its name.
        name: String,
    },
}

impl HostIrq {
    /// A sub-index of INTx, MSI or MSI-X of the device at a PCI address; `None` for an index that
    /// has no interrupt of the host.
    #[must_use]
    pub fn of(address: &str, index: IrqIndex, sub_index: u32) -> Option<Self> {
        // Names: drivers/vfio/pci/vfio_pci_intrs.c.
        match index {
            IrqIndex::INTX => Some(Self(format!("vfio-intx({address})"))),
            IrqIndex::MSI => Some(Self(format!("vfio-msi[{sub_index}]({address})"))),
            IrqIndex::MSIX => Some(Self(format!("vfio-msix[{sub_index}]({address})"))),
            _ => None,
        }
    }

    /// Interrupts so far, on all processors.
    ///
    /// # Errors
    ///
    /// See [`HostIrqError`].
    pub fn count(&self) -> Result<u64, HostIrqError> {
        let table = fs::read_to_string(INTERRUPTS).map_err(HostIrqError::Table)?;
        count(&table, &self.0).ok_or_else(|| HostIrqError::NoRow {
            name: self.0.clone(),
        })
    }
}

impl fmt::Display for HostIrq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
        let row = |sub_index| HostIrq::of("0000:00:05.0", IrqIndex::MSIX, sub_index).unwrap();
        assert_eq!(count(TABLE, &row(1).to_string()), Some(7));
        assert_eq!(count(TABLE, &row(11).to_string()), Some(11));
        assert_eq!(count(TABLE, &row(2).to_string()), None);
    }

    #[test]
    fn host_irq_of_an_index_without_an_interrupt_of_the_host_is_none() {
        assert_eq!(HostIrq::of("0000:00:05.0", IrqIndex::ERR, 0), None);
        let line = HostIrq::of("0000:00:05.0", IrqIndex::INTX, 0).unwrap();
        assert_eq!(line.to_string(), "vfio-intx(0000:00:05.0)");
    }

    #[test]
    fn count_of_an_interrupt_that_is_not_set_up_names_its_row() {
        let row = HostIrq::of("ffff:ff:1f.7", IrqIndex::MSI, 0).unwrap();
        let error = row.count().unwrap_err();
        assert!(error.to_string().contains("vfio-msi[0](ffff:ff:1f.7)"));
    }
}
