//! How often the interrupts of kernel devices fire, as the host counts them.

use std::collections::BTreeMap;

use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::VectorIndex;

/// Interrupts so far, by the name of the device and the vector.
pub type InterruptCounts = BTreeMap<(String, MessageSource), u64>;

/// Somebody who counts interrupts that the kernel delivers, which nobody in this process sees.
pub trait CountInterrupts: Send + Sync {
    /// The counts now; what is not in it is not known.
    fn read(&self) -> InterruptCounts;
}

/// `/proc/interrupts`, for devices that were added under their PCI address (`0000:01:00.0`).
///
/// One read a look. vfio-pci names its interrupts `vfio-msix[3](0000:01:00.0)`
/// (`drivers/vfio/pci/vfio_pci_intrs.c`).
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcInterrupts;

impl CountInterrupts for ProcInterrupts {
    fn read(&self) -> InterruptCounts {
        match std::fs::read_to_string("/proc/interrupts") {
            Ok(text) => parse(&text),
            Err(error) => {
                tracing::debug!(%error, "/proc/interrupts");
                InterruptCounts::new()
            }
        }
    }
}

fn parse(text: &str) -> InterruptCounts {
    text.lines().filter_map(parse_line).collect()
}

/// `  35:   10   2  IR-PCI-MSIX-0000:01:00.0  3-edge  vfio-msix[3](0000:01:00.0)`
fn parse_line(line: &str) -> Option<((String, MessageSource), u64)> {
    let (head, name) = line.trim_end().rsplit_once(char::is_whitespace)?;
    let (kind, rest) = name.split_once('[')?;
    let (vector, rest) = rest.split_once(']')?;
    let vector = VectorIndex(vector.parse().ok()?);
    let source = match kind {
        "vfio-msix" => MessageSource::Msix(vector),
        "vfio-msi" => MessageSource::Msi(vector),
        _ => return None,
    };
    let device = rest.strip_prefix('(')?.strip_suffix(')')?;
    let (_, counts) = head.split_once(':')?;
    // One number for each processor, then the controller's name, which may begin with a digit.
    let counts = counts
        .split_whitespace()
        .map_while(|word| word.parse().ok());
    let count = counts.fold(0, u64::saturating_add);
    Some(((device.to_owned(), source), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_vfio_interrupts_are_added_up_over_processors() {
        let text = "            CPU0       CPU1
   0:         44          0   IO-APIC    2-edge      timer
  35:         10          2  IR-PCI-MSIX-0000:01:00.0    3-edge      vfio-msix[3](0000:01:00.0)
  36:          0          7  PCI-MSI 528384-edge      vfio-msi[0](0000:02:00.0)
  37:          1          1  IR-IO-APIC   16-fasteoi   vfio-intx(0000:02:00.0)
 NMI:          0          0   Non-maskable interrupts
";
        let counts = parse(text);
        let at = |device: &str, source| counts.get(&(device.to_owned(), source)).copied();
        assert_eq!(
            at("0000:01:00.0", MessageSource::Msix(VectorIndex(3))),
            Some(12)
        );
        assert_eq!(
            at("0000:02:00.0", MessageSource::Msi(VectorIndex(0))),
            Some(7)
        );
        assert_eq!(counts.len(), 2);
    }
}
