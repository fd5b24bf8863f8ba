//! The vectors the guest has a handler for.

use kvm_bindings::kvm_msi;

/// Address of an MSI to the local APIC with id 0, physical destination (Intel SDM 3A §11.11.1).
const MSI_ADDRESS_APIC_0: u32 = 0xfee0_0000;

/// A vector the guest has a handler for, `0x20..=0xff`.
///
/// Below that lie the processor's exceptions, which end the run, see
/// [`RunError::StrayVector`](crate::RunError::StrayVector).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuestVector(u8);

impl GuestVector {
    /// The lowest vector with a handler.
    pub const FIRST: Self = Self(0x20);
    /// The highest vector with a handler.
    pub const LAST: Self = Self(0xff);

    /// The vector with this number, `None` below `0x20`.
    #[must_use]
    pub const fn new(vector: u8) -> Option<Self> {
        if vector < Self::FIRST.0 {
            None
        } else {
            Some(Self(vector))
        }
    }

    /// The vector's number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// All vectors with a handler, lowest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (Self::FIRST.0..=Self::LAST.0).map(Self)
    }

    /// Address of the MSI that raises this vector, bits 63:32 zero.
    #[must_use]
    pub const fn msi_address(self) -> u64 {
        MSI_ADDRESS_APIC_0 as u64
    }

    /// Data of the MSI that raises this vector: fixed delivery, edge.
    #[must_use]
    pub const fn msi_data(self) -> u32 {
        self.0 as u32
    }

    /// The MSI that raises this vector, for `KVM_SIGNAL_MSI`.
    #[must_use]
    pub fn kvm_msi(self) -> kvm_msi {
        kvm_msi {
            address_lo: MSI_ADDRESS_APIC_0,
            data: self.msi_data(),
            ..kvm_msi::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_of_an_exception_is_refused_and_the_first_above_accepted() {
        assert_eq!(GuestVector::new(0x1f), None);
        assert_eq!(GuestVector::new(0x20), Some(GuestVector::FIRST));
    }

    #[test]
    fn all_vectors_are_the_224_above_the_exceptions() {
        assert_eq!(GuestVector::all().count(), 224);
        assert_eq!(GuestVector::all().last(), Some(GuestVector::LAST));
    }
}
