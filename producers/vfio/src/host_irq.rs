//! How often devices interrupted this machine, as its kernel counts.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;

use irqbroker_vfio_abi::IrqIndex;

const INTERRUPTS: &str = "/proc/interrupts";

/// An interrupt of a PCI device given to VFIO, by the name of its row in `/proc/interrupts`.
///
/// An independent count of what a device sent, also where the kernel delivers past the broker. The
/// row is there while the vector has an eventfd, and begins anew each time it gets one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostIrq(String);

/// The interrupts that VFIO has set up on this machine, with their counts: one look at
/// `/proc/interrupts`. Collected from pairs it stands for somebody else's count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostIrqs(HashMap<HostIrq, u64>);

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
        let counts = HostIrqs::read().map_err(HostIrqError::Table)?;
        counts.count(self).ok_or_else(|| HostIrqError::NoRow {
            name: self.0.clone(),
        })
    }
}

impl HostIrqs {
    /// The counts now.
    ///
    /// # Errors
    ///
    /// The table cannot be read.
    pub fn read() -> io::Result<Self> {
        fs::read_to_string(INTERRUPTS).map(|table| Self::parse(&table))
    }

    /// Interrupts of one so far, on all processors; `None` if it is not set up.
    #[must_use]
    pub fn count(&self, irq: &HostIrq) -> Option<u64> {
        self.0.get(irq).copied()
    }

    fn parse(table: &str) -> Self {
        table.lines().filter_map(row).collect()
    }
}

impl FromIterator<(HostIrq, u64)> for HostIrqs {
    fn from_iter<T: IntoIterator<Item = (HostIrq, u64)>>(counts: T) -> Self {
        Self(counts.into_iter().collect())
    }
}

/// A row of VFIO's: its number and a colon, a count for each processor, the chip, the name.
fn row(row: &str) -> Option<(HostIrq, u64)> {
    let (_, name) = row.trim_end().rsplit_once(char::is_whitespace)?;
    if !name.starts_with("vfio-") {
        return None;
    }
    let counts = row.split_whitespace().skip(1);
    let counts = counts.map_while(|count| count.parse::<u64>().ok());
    Some((
        HostIrq(name.to_owned()),
        counts.fold(0, u64::saturating_add),
    ))
}

impl fmt::Display for HostIrq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
           CPU0       CPU1
  4:         12          0  IO-APIC   4-edge      ttyS0
 25:          3          4  IR-PCI-MSIX-0000:00:05.0   1-edge      vfio-msix[1](0000:00:05.0)
 26:          5          6  IR-PCI-MSIX-0000:00:05.0  11-edge      vfio-msix[11](0000:00:05.0)
 27:          0          7  PCI-MSI 528384-edge      vfio-msi[0](0000:02:00.0)
 28:          1          1  IR-IO-APIC   16-fasteoi   vfio-intx(0000:02:00.0)
NMI:          0          0   Non-maskable interrupts
";

    #[test]
    fn counts_of_vfio_interrupts_are_added_up_over_processors() {
        let counts = HostIrqs::parse(TABLE);
        let count = |address, index, sub_index| {
            let irq = HostIrq::of(address, index, sub_index).unwrap();
            counts.count(&irq)
        };
        assert_eq!(count("0000:00:05.0", IrqIndex::MSIX, 1), Some(7));
        assert_eq!(count("0000:00:05.0", IrqIndex::MSIX, 11), Some(11));
        assert_eq!(count("0000:00:05.0", IrqIndex::MSIX, 2), None);
        assert_eq!(count("0000:02:00.0", IrqIndex::MSI, 0), Some(7));
        assert_eq!(count("0000:02:00.0", IrqIndex::INTX, 0), Some(2));
        assert_eq!(counts.0.len(), 4);
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
