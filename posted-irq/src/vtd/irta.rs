//! Where VT-d's interrupt-remapping table is.

use bitfield_struct::bitfield;

use crate::ids::ApicIdFormat;

/// Interrupt Remapping Table Address Register (VT-d specification, section of that name).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Irta {
    /// S: the table has 2^(S+1) entries.
    #[bits(4)]
    pub s: u8,
    #[bits(7)]
    _reserved_10_4: u8,
    /// EIME: APIC ids have 32 bits.
    pub eime: bool,
    /// Address bits 63:12.
    #[bits(52)]
    pub irta: u64,
}

impl Irta {
    /// Guest-physical address of the first entry.
    #[must_use]
    pub const fn base(self) -> u64 {
        self.irta() << 12
    }

    /// How many entries there are, 2-65536.
    #[must_use]
    pub const fn entries(self) -> u32 {
        2 << self.s()
    }

    /// How entries write APIC ids.
    #[must_use]
    pub const fn apic_ids(self) -> ApicIdFormat {
        if self.eime() {
            ApicIdFormat::X2Apic
        } else {
            ApicIdFormat::XApic
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn irta_fields_one_hot_are_where_the_spec_puts_them() {
        assert_eq!(Irta::new().with_s(0xf).into_bits(), 0xf);
        assert_eq!(Irta::new().with_eime(true).into_bits(), 1 << 11);
        let address = Irta::new().with_irta((1 << 52) - 1);
        assert_eq!(address.into_bits(), !0xfff);
    }

    #[test]
    fn irta_of_linux_is_65536_entries_at_a_page() {
        let linux = Irta::from_bits(0x1234_5000 | 1 << 11 | 0xf);
        assert_eq!(linux.base(), 0x1234_5000);
        assert_eq!(linux.entries(), 65536);
        assert_eq!(linux.apic_ids(), ApicIdFormat::X2Apic);
        assert_eq!(Irta::new().entries(), 2);
    }
}
