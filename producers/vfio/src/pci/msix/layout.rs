//! How large an MSI-X table is and where the guest finds it.

use super::super::access::Window;

/// A place in the memory of one of the function's BARs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarOffset {
    /// Which BAR, 0-5.
    pub bar: u8,
    /// Byte in it, a multiple of 8.
    pub offset: u32,
}

impl BarOffset {
    /// Offset and BIR in one dword, as the capability holds it.
    pub(super) fn register(self) -> u32 {
        self.offset | u32::from(self.bar)
    }
}

/// Shape of an MSI-X capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsixLayout {
    /// Number of vectors, 1-2048.
    pub vectors: u16,
    /// Where the table is, 16 bytes a vector.
    pub table: BarOffset,
    /// Where the pending-bit array is, 8 bytes for each 64 vectors begun.
    pub pba: BarOffset,
}

/// The specification has no such MSI-X capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MsixLayoutError {
    /// Number of vectors out of range.
    #[error("{0} msi-x vectors, a table has 1 to 2048")]
    Vectors(u16),
    /// No such BAR.
    #[error("msi-x structure in bar {0}, a function has 0 to 5")]
    Bar(u8),
    /// Not on a quadword.
    #[error("msi-x structure at {0:#x}, not a multiple of 8")]
    Alignment(u32),
    /// Beyond the 4 GiB that an offset can name.
    #[error("msi-x structure at {0:#x} ends beyond 4 GiB")]
    End(u32),
    /// Table and pending-bit array share bytes.
    #[error("msi-x table and pending-bit array overlap in bar {0}")]
    Overlap(u8),
}

impl MsixLayout {
    /// Length of the table in bytes.
    #[must_use]
    pub fn table_len(&self) -> u64 {
        u64::from(self.vectors) * 16
    }

    /// Length of the pending-bit array in bytes.
    #[must_use]
    pub fn pba_len(&self) -> u64 {
        u64::from(self.vectors).div_ceil(64) * 8
    }

    pub(in crate::pci) fn table_window(&self) -> Window {
        Window::new(self.table.offset.into(), self.table_len())
    }

    pub(in crate::pci) fn pba_window(&self) -> Window {
        Window::new(self.pba.offset.into(), self.pba_len())
    }

    pub(super) fn check(&self) -> Result<(), MsixLayoutError> {
        if !(1..=2048).contains(&self.vectors) {
            return Err(MsixLayoutError::Vectors(self.vectors));
        }
        for (place, len) in [(self.table, self.table_len()), (self.pba, self.pba_len())] {
            if place.bar > 5 {
                return Err(MsixLayoutError::Bar(place.bar));
            }
            if !place.offset.is_multiple_of(8) {
                return Err(MsixLayoutError::Alignment(place.offset));
            }
            if u64::from(place.offset) + len > 1 << 32 {
                return Err(MsixLayoutError::End(place.offset));
            }
        }
        if self.table.bar == self.pba.bar && self.table_window().intersects(self.pba_window()) {
            return Err(MsixLayoutError::Overlap(self.table.bar));
        }
        Ok(())
    }
}
