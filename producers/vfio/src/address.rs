//! How people name a VFIO device: PCI address, mdev UUID, or sysfs path.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use irqbroker_core::Rid;

/// Hexadecimal digits in each group of a UUID's text (RFC 9562).
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// A PCI function: `domain:bus:device.function`, all hexadecimal.
///
/// Read with or without the domain (`00:05.0` is in domain 0), written with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PciAddress {
    domain: u32,
    rid: Rid,
}

/// The UUID an mdev was created with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MdevUuid(u128);

/// A device of this host, as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DeviceAddress {
    /// A PCI function.
    Pci(PciAddress),
    /// A mediated device.
    Mdev(MdevUuid),
    /// A device's folder below `/sys`: the way to name a platform device.
    Sysfs(PathBuf),
}

/// The text names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no device; write 0000:00:05.0, 00:05.0, an mdev uuid, or a path below /sys")]
pub struct AddressError {
    /// What was given.
    pub text: String,
}

impl PciAddress {
    /// The function's number on its bus segment: what interrupt remapping checks as source-id.
    #[must_use]
    pub fn rid(self) -> Rid {
        self.rid
    }
}

impl FromStr for PciAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse_pci(text).ok_or_else(|| AddressError { text: text.into() })
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{}", self.domain, self.rid)
    }
}

impl FromStr for MdevUuid {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse_uuid(text).ok_or_else(|| AddressError { text: text.into() })
    }
}

impl fmt::Display for MdevUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let mut rest = digits.as_str();
        for (n, length) in UUID_GROUPS.into_iter().enumerate() {
            let (group, more) = rest.split_at(length);
            let dash = if n == 0 { "" } else { "-" };
            write!(f, "{dash}{group}")?;
            rest = more;
        }
        Ok(())
    }
}

impl fmt::Debug for MdevUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MdevUuid({self})")
    }
}

impl FromStr for DeviceAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains('/') {
            return Ok(Self::Sysfs(PathBuf::from(text)));
        }
        let pci = parse_pci(text).map(Self::Pci);
        pci.or_else(|| parse_uuid(text).map(Self::Mdev))
            .ok_or_else(|| AddressError { text: text.into() })
    }
}

impl fmt::Display for DeviceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(address) => address.fmt(f),
            Self::Mdev(uuid) => uuid.fmt(f),
            Self::Sysfs(path) => path.display().fmt(f),
        }
    }
}

fn parse_pci(text: &str) -> Option<PciAddress> {
    let (rest, function) = text.split_once('.')?;
    let (rest, device) = rest.rsplit_once(':')?;
    // A domain beyond 16 bits is what a VMD controller makes up.
    let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));
    let domain = hex(domain, 8)?;
    let bus = hex(bus, 2)?;
    let device = hex(device, 2).filter(|device| *device < 32)?;
    let function = hex(function, 1).filter(|function| *function < 8)?;
    let rid = u16::try_from(bus << 8 | device << 3 | function).ok()?;
    Some(PciAddress {
        domain,
        rid: Rid(rid),
    })
}

fn parse_uuid(text: &str) -> Option<MdevUuid> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths = groups.iter().map(|group| group.len());
    if !lengths.eq(UUID_GROUPS) {
        return None;
    }
    let digits = groups.concat();
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let value = u128::from_str_radix(&digits, 16).ok()?;
    hexadecimal.then_some(MdevUuid(value))
}

/// At most `digits` hexadecimal digits and no sign, which `from_str_radix` would take.
fn hex(text: &str, digits: usize) -> Option<u32> {
    let plain = text.len() <= digits && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    u32::from_str_radix(text, 16).ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pci_address_is_read_with_and_without_domain_and_written_in_full() {
        for text in ["0000:1f:1c.5", "1f:1c.5"] {
            let address: PciAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), "0000:1f:1c.5");
            assert_eq!(address.rid(), Rid(0x1fe5));
        }
        let vmd: PciAddress = "10000:01:00.0".parse().unwrap();
        assert_eq!(vmd.to_string(), "10000:01:00.0");
    }

    #[test]
    fn device_address_tells_pci_from_mdev_from_sysfs_path() {
        let uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
        let pci: DeviceAddress = "00:05.0".parse().unwrap();
        assert!(matches!(pci, DeviceAddress::Pci(_)));
        let mdev: DeviceAddress = uuid.parse().unwrap();
        assert!(matches!(mdev, DeviceAddress::Mdev(_)));
        assert_eq!(mdev.to_string(), uuid);
        let path = "/sys/bus/platform/devices/fff51000.ethernet";
        let sysfs: DeviceAddress = path.parse().unwrap();
        assert_eq!(sysfs, DeviceAddress::Sysfs(path.into()));
    }

    #[test]
    fn device_address_refuses_text_that_names_nothing() {
        for text in [
            "",
            "eth0",
            "00:05",
            "00:20.0",
            "00:05.8",
            "100:05.0.1",
            "+0:05.0",
            "0:0:0:00:05.0",
            "83b8f4f2-509f-382f-3c1e-e6bfe0fa100",
            "83b8f4f2-509f-382f-3c1e-+6bfe0fa1001",
        ] {
            let refused = text.parse::<DeviceAddress>().unwrap_err();
            assert_eq!(refused.text, text);
        }
    }

    proptest! {
        #[test]
        fn pci_address_reads_what_it_wrote(domain in 0..=u32::MAX, rid in 0..=u16::MAX) {
            let address = PciAddress { domain, rid: Rid(rid) };
            prop_assert_eq!(address.to_string().parse::<PciAddress>().unwrap(), address);
        }

        #[test]
        fn device_address_of_any_text_does_not_panic(text in ".{0,48}") {
            let _parsed = text.parse::<DeviceAddress>();
        }
    }
}
