//! What a region's capability chain can say.

use zerocopy::IntoBytes;

use crate::capability::RawCapability;
use crate::chain;
use crate::chain::Entry;
use crate::info_error::InfoError;
use crate::wire::SparseAreaWire;
use crate::wire::TypeWire;

/// `VFIO_REGION_INFO_CAP_SPARSE_MMAP`.
const SPARSE_MMAP: u16 = 1;
/// `VFIO_REGION_INFO_CAP_TYPE`.
const TYPE: u16 = 2;
/// `VFIO_REGION_INFO_CAP_MSIX_MAPPABLE`.
const MSIX_MAPPABLE: u16 = 3;

/// A capability of a region.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RegionCapability {
    /// Only these parts may be mapped.
    SparseMmap(Vec<SparseArea>),
    /// What a region of the device's own is for.
    Type(RegionType),
    /// The pages of the MSI-X table and PBA may be mapped too.
    MsixMappable,
    /// Of an id or a version that this crate does not know; the NVLink ones (4 and 5), which no
    /// kernel shows any more, are left here.
    Unknown(RawCapability),
}

/// A part of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SparseArea {
    /// Where it begins in the region, bytes.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// What a region is for, where its index does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RegionType {
    /// Family; see [`RegionType::pci_vendor`].
    pub type_: u32,
    /// Member of the family.
    pub subtype: u32,
}

impl RegionType {
    /// The EDID of a vGPU's monitor ([`GfxEdid`](crate::GfxEdid)).
    pub const GFX_EDID: Self = Self {
        type_: Self::GFX,
        subtype: 1,
    };
    /// The OpRegion of Intel graphics.
    pub const INTEL_OPREGION: Self = Self::pci_vendor(0x8086, 1);
    /// The configuration space of the host bridge beside Intel graphics.
    pub const INTEL_HOST_CONFIG: Self = Self::pci_vendor(0x8086, 2);
    /// The configuration space of the LPC bridge beside Intel graphics.
    pub const INTEL_LPC_CONFIG: Self = Self::pci_vendor(0x8086, 3);

    /// Family of graphics.
    pub const GFX: u32 = 1;
    /// Family of s390 channel I/O.
    pub const CCW: u32 = 2;
    /// Family of the migration region, which no kernel shows any more.
    pub const MIGRATION_DEPRECATED: u32 = 3;
    /// Bit of the families that belong to a PCI vendor.
    pub const PCI_VENDOR_TYPE: u32 = 1 << 31;
    /// Bits of such a family that are the vendor id.
    pub const PCI_VENDOR_MASK: u32 = 0xffff;

    /// A region that a PCI vendor defines.
    #[must_use]
    pub const fn pci_vendor(vendor: u16, subtype: u32) -> Self {
        Self {
            type_: Self::PCI_VENDOR_TYPE | vendor as u32,
            subtype,
        }
    }

    /// The PCI vendor that defines it, if one does.
    #[must_use]
    pub fn vendor(self) -> Option<u16> {
        (self.type_ & Self::PCI_VENDOR_TYPE != 0)
            .then(|| u16::try_from(self.type_ & Self::PCI_VENDOR_MASK).ok())
            .flatten()
    }
}

impl RegionCapability {
    pub(crate) fn from_entry(entry: &Entry<'_>) -> Result<Self, InfoError> {
        match entry.known_id() {
            Some(SPARSE_MMAP) => {
                let areas = entry.array()?;
                Ok(Self::SparseMmap(areas.map(SparseArea::of).collect()))
            }
            Some(TYPE) => {
                let TypeWire { type_, subtype } = entry.fixed()?;
                Ok(Self::Type(RegionType { type_, subtype }))
            }
            Some(MSIX_MAPPABLE) => Ok(Self::MsixMappable),
            _ => Ok(Self::Unknown(entry.to_raw())),
        }
    }

    pub(crate) fn to_raw(&self) -> RawCapability {
        match self {
            Self::SparseMmap(areas) => {
                let areas = areas.iter().map(|area| SparseAreaWire {
                    offset: area.offset,
                    size: area.size,
                });
                chain::capability(SPARSE_MMAP, chain::array_body(areas))
            }
            Self::Type(RegionType { type_, subtype }) => {
                let wire = TypeWire {
                    type_: *type_,
                    subtype: *subtype,
                };
                chain::capability(TYPE, wire.as_bytes().to_vec())
            }
            Self::MsixMappable => chain::capability(MSIX_MAPPABLE, Vec::new()),
            Self::Unknown(raw) => raw.clone(),
        }
    }
}

impl SparseArea {
    fn of(wire: SparseAreaWire) -> Self {
        Self {
            offset: wire.offset,
            size: wire.size,
        }
    }
}
