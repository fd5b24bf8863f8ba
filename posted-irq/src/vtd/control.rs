//! The control word of a posted-interrupt descriptor: ON, SN, NV and NDST.

use bitfield_struct::bitfield;

/// Bits 319:256 of a posted-interrupt descriptor (VT-d specification, section "Posted Interrupt
/// Descriptor"). A snapshot: the live word is inside `PiDesc`.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct PiControl {
    /// ON, outstanding notification: whoever set it has sent one that is not yet answered.
    pub on: bool,
    /// SN, suppress notification: posts go into the PIR in silence, unless urgent.
    pub sn: bool,
    /// Must be zero.
    #[bits(14)]
    pub reserved_15_2: u16,
    /// NV, notification vector.
    pub nv: u8,
    /// Must be zero.
    pub reserved_31_24: u8,
    /// NDST, notification destination, written as `ApicIdFormat::encode_vtd` says.
    pub ndst: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pi_control_fields_one_hot_are_where_the_spec_puts_them() {
        let zero = PiControl::new();
        assert_eq!(zero.with_on(true).into_bits(), 1);
        assert_eq!(zero.with_sn(true).into_bits(), 1 << 1);
        assert_eq!(zero.with_reserved_15_2(0x3fff).into_bits(), 0x3fff << 2);
        assert_eq!(zero.with_nv(0xff).into_bits(), 0xff << 16);
        assert_eq!(zero.with_reserved_31_24(0xff).into_bits(), 0xff << 24);
        assert_eq!(zero.with_ndst(u32::MAX).into_bits(), 0xffff_ffff << 32);
    }
}
