//! What the device's regions are.

use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::DeviceFlags;
use irqbroker_vfio::abi::DeviceInfo;
use irqbroker_vfio::abi::RegionCapability;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio::abi::RegionType;
use serde::Serialize;

use super::device::names;

/// What vfio-pci's regions are called.
const PCI_NAMES: [&str; 9] = [
    "bar0", "bar1", "bar2", "bar3", "bar4", "bar5", "rom", "config", "vga",
];

/// One region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RegionRow {
    pub(super) index: u32,
    pub(super) name: String,
    /// 0 if the device has no such region.
    pub(super) size: u64,
    pub(super) flags: Vec<String>,
    pub(super) capabilities: Vec<RegionCap>,
    /// Why nothing else is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// One capability of a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum RegionCap {
    SparseMmap { areas: Vec<Area> },
    Type { r#type: u32, subtype: u32 },
    MsixMappable,
    Unknown { id: u16, version: u16 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Area {
    offset: u64,
    size: u64,
}

impl RegionRow {
    /// The region, unless it is vfio-pci's VGA region of a device that is no VGA card: that one has
    /// a number, but no answer.
    pub(super) fn of(device: &dyn Device, info: &DeviceInfo, index: u32) -> Option<Self> {
        let is_pci = info.flags.contains(DeviceFlags::PCI);
        let known = usize::try_from(index)
            .ok()
            .and_then(|index| PCI_NAMES.get(index));
        let name = known.filter(|_| is_pci).map(|name| (*name).to_owned());
        let row = |name: String| Self {
            index,
            name,
            size: 0,
            flags: Vec::new(),
            capabilities: Vec::new(),
            error: None,
        };
        match device.region_info(RegionIndex(index)) {
            Err(_) if is_pci && RegionIndex(index) == RegionIndex::VGA => None,
            Err(error) => Some(Self {
                error: Some(error.to_string()),
                ..row(name.unwrap_or_else(|| format!("region{index}")))
            }),
            Ok(region) => {
                let named = region
                    .capabilities
                    .iter()
                    .find_map(|capability| match capability {
                        RegionCapability::Type(kind) => Some(type_name(*kind)),
                        _ => None,
                    });
                let name = name.or(named).unwrap_or_else(|| format!("region{index}"));
                Some(Self {
                    size: region.size,
                    flags: names(region.flags.iter_names().map(|(name, _)| name)),
                    capabilities: region.capabilities.iter().map(RegionCap::of).collect(),
                    ..row(name)
                })
            }
        }
    }
}

impl RegionCap {
    fn of(capability: &RegionCapability) -> Self {
        match capability {
            RegionCapability::SparseMmap(areas) => Self::SparseMmap {
                areas: areas
                    .iter()
                    .map(|area| Area {
                        offset: area.offset,
                        size: area.size,
                    })
                    .collect(),
            },
            RegionCapability::Type(kind) => Self::Type {
                r#type: kind.type_,
                subtype: kind.subtype,
            },
            RegionCapability::MsixMappable => Self::MsixMappable,
            RegionCapability::Unknown(raw) => Self::Unknown {
                id: raw.id,
                version: raw.version,
            },
        }
    }

    /// In a table's cell.
    pub(super) fn text(&self) -> String {
        match self {
            Self::SparseMmap { areas } => match areas.len() {
                1 => "sparse mmap of 1 area".to_owned(),
                areas => format!("sparse mmap of {areas} areas"),
            },
            Self::Type { r#type, subtype } => format!("type {type:#x}, subtype {subtype}"),
            Self::MsixMappable => "msi-x mappable".to_owned(),
            Self::Unknown { id, version } => format!("capability {id} version {version}"),
        }
    }
}

fn type_name(kind: RegionType) -> String {
    match kind {
        RegionType::GFX_EDID => "edid".to_owned(),
        RegionType::INTEL_OPREGION => "opregion".to_owned(),
        RegionType { type_, subtype } => format!("type{type_:#x}.{subtype}"),
    }
}
