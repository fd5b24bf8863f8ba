//! The numbers of a device's regions and interrupt groups.

use std::fmt;

/// Number of an interrupt group ("index"); its members are sub-indexes.
///
/// The constants are vfio-pci's fixed ones. On other buses an index is what the driver says, on
/// vfio-platform the number of the interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IrqIndex(pub u32);

impl IrqIndex {
    /// The legacy line.
    pub const INTX: Self = Self(0);
    /// MSI, one sub-index a message.
    pub const MSI: Self = Self(1);
    /// MSI-X, one sub-index a vector.
    pub const MSIX: Self = Self(2);
    /// An uncorrected error of a PCI Express device.
    pub const ERR: Self = Self(3);
    /// The host asks for the device back.
    pub const REQ: Self = Self(4);

    /// How many indexes vfio-pci has; those of a device's own begin here.
    pub const PCI_NUM: u32 = 5;
}

impl fmt::Display for IrqIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Number of a region.
///
/// The constants are vfio-pci's fixed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionIndex(pub u32);

impl RegionIndex {
    /// Base address register 0.
    pub const BAR0: Self = Self(0);
    /// Base address register 1.
    pub const BAR1: Self = Self(1);
    /// Base address register 2.
    pub const BAR2: Self = Self(2);
    /// Base address register 3.
    pub const BAR3: Self = Self(3);
    /// Base address register 4.
    pub const BAR4: Self = Self(4);
    /// Base address register 5.
    pub const BAR5: Self = Self(5);
    /// The expansion ROM.
    pub const ROM: Self = Self(6);
    /// Configuration space.
    pub const CONFIG: Self = Self(7);
    /// The legacy VGA ranges.
    pub const VGA: Self = Self(8);

    /// How many regions vfio-pci has; those of a device's own begin here.
    pub const PCI_NUM: u32 = 9;
}

impl fmt::Display for RegionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
