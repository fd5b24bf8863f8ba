//! What the device is.

use std::fmt;

use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::DeviceFlags;
use irqbroker_vfio::abi::DeviceInfo;
use irqbroker_vfio::abi::RegionIndex;
use serde::Serialize;

/// What the device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct DeviceRow {
    name: String,
    node: String,
    flags: Vec<String>,
    num_regions: u32,
    num_irqs: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pci: Option<PciIdentity>,
}

/// From configuration space, hexadecimal as `lspci -n` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct PciIdentity {
    vendor: String,
    device: String,
    class: String,
    revision: String,
    subsystem_vendor: String,
    subsystem_device: String,
}

impl DeviceRow {
    pub(super) fn of(name: &str, node: &str, device: &dyn Device, info: &DeviceInfo) -> Self {
        let is_pci = info.flags.contains(DeviceFlags::PCI);
        Self {
            name: name.to_owned(),
            node: node.to_owned(),
            flags: names(info.flags.iter_names().map(|(name, _)| name)),
            num_regions: info.num_regions,
            num_irqs: info.num_irqs,
            pci: is_pci.then(|| PciIdentity::read(device)).flatten(),
        }
    }
}

impl PciIdentity {
    /// PCI Local Bus 3.0, figure 6-1.
    fn read(device: &dyn Device) -> Option<Self> {
        let mut header = [0; 0x40];
        let read = device
            .region_read(RegionIndex::CONFIG, 0, &mut header)
            .ok()?;
        if read < header.len() {
            return None;
        }
        let word = |at: usize| format!("{:02x}{:02x}", header[at + 1], header[at]);
        Some(Self {
            vendor: word(0),
            device: word(2),
            revision: format!("{:02x}", header[8]),
            class: format!("{:02x}{:02x}{:02x}", header[11], header[10], header[9]),
            subsystem_vendor: word(0x2c),
            subsystem_device: word(0x2e),
        })
    }
}

impl fmt::Display for DeviceRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(pci) = &self.pci {
            write!(f, "  {}:{}, class {}", pci.vendor, pci.device, pci.class)?;
        }
        write!(f, "  [{}]  through {}", self.flags.join(" "), self.node)
    }
}

/// Names of flags as scripts see them.
pub(super) fn names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_lowercase).collect()
}
