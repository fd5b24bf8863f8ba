//! What an AMD device table entry says about interrupts.

use bitfield_struct::bitfield;

/// Bits 191:128 of a device table entry (AMD IOMMU specification, section "Device Table Entry
/// Format").
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct DteInterrupt {
    /// IV: the fields below count; otherwise interrupts pass as they are.
    pub iv: bool,
    /// IntTabLen: the table has 2^IntTabLen entries; from 12 on reserved.
    #[bits(4)]
    pub int_tab_len: u8,
    /// IG: I/O page faults of interrupts are not logged; other events are.
    pub ig: bool,
    /// Bits 51:6 of the table's address; it is aligned to 128 bytes, so bit 6 is zero.
    #[bits(46)]
    pub int_table: u64,
    /// Must be zero.
    #[bits(4)]
    pub reserved_55_52: u8,
    /// INITPass: INIT passes.
    pub init_pass: bool,
    /// EIntPass: ExtInt passes.
    pub eint_pass: bool,
    /// NMIPass: NMI passes.
    pub nmi_pass: bool,
    /// HPTMode, no business of interrupts.
    pub hpt_mode: bool,
    /// IntCtl: what becomes of fixed and arbitrated interrupts.
    #[bits(2)]
    pub int_ctl: IntCtl,
    /// Lint0Pass.
    pub lint0_pass: bool,
    /// Lint1Pass.
    pub lint1_pass: bool,
}

impl DteInterrupt {
    /// Guest-physical address of the table.
    #[must_use]
    pub const fn base(self) -> u64 {
        self.int_table() << 6
    }

    /// How many entries the table has, 1-2048; `None` for a reserved length.
    #[must_use]
    pub const fn entries(self) -> Option<u16> {
        match self.int_tab_len() {
            exponent @ 0..12 => Some(1 << exponent),
            _ => None,
        }
    }
}

/// What becomes of fixed and arbitrated interrupts, 2 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum IntCtl {
    /// Target abort, nothing logged.
    Abort = 0,
    /// They pass as they are.
    Forward = 1,
    /// They are remapped.
    Remap = 2,
    /// Reserved.
    Reserved = 3,
}

impl IntCtl {
    const fn into_bits(self) -> u8 {
        self as u8
    }

    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Abort,
            1 => Self::Forward,
            2 => Self::Remap,
            _ => Self::Reserved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dte_interrupt_fields_one_hot_are_where_the_spec_puts_them() {
        let zero = DteInterrupt::new();
        assert_eq!(zero.with_iv(true).into_bits(), 1);
        assert_eq!(zero.with_int_tab_len(0xf).into_bits(), 0xf << 1);
        assert_eq!(zero.with_ig(true).into_bits(), 1 << 5);
        let table = zero.with_int_table((1 << 46) - 1);
        assert_eq!(table.into_bits(), 0x000f_ffff_ffff_ffc0);
        assert_eq!(zero.with_reserved_55_52(0xf).into_bits(), 0xf << 52);
        assert_eq!(zero.with_init_pass(true).into_bits(), 1 << 56);
        assert_eq!(zero.with_eint_pass(true).into_bits(), 1 << 57);
        assert_eq!(zero.with_nmi_pass(true).into_bits(), 1 << 58);
        assert_eq!(zero.with_hpt_mode(true).into_bits(), 1 << 59);
        assert_eq!(zero.with_int_ctl(IntCtl::Reserved).into_bits(), 3 << 60);
        assert_eq!(zero.with_lint0_pass(true).into_bits(), 1 << 62);
        assert_eq!(zero.with_lint1_pass(true).into_bits(), 1 << 63);
    }

    #[test]
    fn dte_table_length_is_a_power_of_two_up_to_2048() {
        let entries = |len| DteInterrupt::new().with_int_tab_len(len).entries();
        assert_eq!(entries(0), Some(1));
        assert_eq!(entries(11), Some(2048));
        assert_eq!(entries(12), None);
        assert_eq!(entries(15), None);
    }
}
