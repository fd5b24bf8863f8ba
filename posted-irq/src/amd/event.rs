//! What an AMD IOMMU logs of interrupts it refuses.

use bitfield_struct::bitfield;

/// An event log entry, laid out as `IO_PAGE_FAULT` is (AMD IOMMU specification, section "Event
/// Logging"); the other events of [`AmdEventCode`] use a subset of the same places.
#[bitfield(u128)]
#[derive(PartialEq, Eq)]
pub struct AmdEvent {
    /// Who asked.
    pub device_id: u16,
    #[bits(16)]
    _pasid_and_reserved_31_16: u16,
    /// The device's domain.
    pub domain_id: u16,
    #[bits(3)]
    _gn_nx_us: u8,
    /// I: it was an interrupt.
    pub i: bool,
    /// PR: the entry had RemapEn set.
    pub pr: bool,
    #[bits(2)]
    _rw_pe: u8,
    /// RZ: reserved bits were not zero.
    pub rz: bool,
    #[bits(4)]
    _tr_and_reserved_59_57: u8,
    /// Which event.
    #[bits(4)]
    pub code: AmdEventCode,
    /// The message's address; for hardware errors, where the table was read.
    pub address: u64,
}

/// Event code, 4 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AmdEventCode(u8);

impl AmdEventCode {
    /// The device table entry is not valid, or the device is beyond the table.
    pub const ILLEGAL_DEV_TABLE_ENTRY: Self = Self(1);
    /// The interrupt-remapping entry does not allow the interrupt.
    pub const IO_PAGE_FAULT: Self = Self(2);
    /// The device table cannot be read.
    pub const DEV_TAB_HARDWARE_ERROR: Self = Self(3);
    /// The interrupt-remapping table cannot be read.
    pub const PAGE_TAB_HARDWARE_ERROR: Self = Self(4);
    /// The command buffer holds what is no command.
    pub const ILLEGAL_COMMAND_ERROR: Self = Self(5);

    /// The code, 0-15.
    #[must_use]
    pub const fn into_bits(self) -> u8 {
        self.0
    }

    /// The event with this code; only bits 3:0 count.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0xf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amd_event_fields_one_hot_are_where_the_spec_puts_them() {
        let zero = AmdEvent::from_bits(0);
        assert_eq!(zero.with_device_id(0xffff).into_bits(), 0xffff);
        assert_eq!(zero.with_domain_id(0xffff).into_bits(), 0xffff << 32);
        assert_eq!(zero.with_i(true).into_bits(), 1 << 51);
        assert_eq!(zero.with_pr(true).into_bits(), 1 << 52);
        assert_eq!(zero.with_rz(true).into_bits(), 1 << 55);
        let code = zero.with_code(AmdEventCode::from_bits(0xf));
        assert_eq!(code.into_bits(), 0xf << 60);
        let address = zero.with_address(u64::MAX);
        assert_eq!(address.into_bits(), u128::from(u64::MAX) << 64);
    }

    #[test]
    fn amd_event_codes_are_those_of_the_spec() {
        assert_eq!(AmdEventCode::ILLEGAL_DEV_TABLE_ENTRY.into_bits(), 1);
        assert_eq!(AmdEventCode::IO_PAGE_FAULT.into_bits(), 2);
        assert_eq!(AmdEventCode::DEV_TAB_HARDWARE_ERROR.into_bits(), 3);
        assert_eq!(AmdEventCode::PAGE_TAB_HARDWARE_ERROR.into_bits(), 4);
        assert_eq!(AmdEventCode::ILLEGAL_COMMAND_ERROR.into_bits(), 5);
    }
}
