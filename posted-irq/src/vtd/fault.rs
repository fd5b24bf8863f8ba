//! Interrupt-remapping faults of VT-d: reasons, and the record software finds.

use bitfield_struct::bitfield;

/// Why an interrupt request was refused (VT-d specification, table "Interrupt Remapping Fault
/// Conditions").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum VtdFaultReason {
    /// 20h: reserved bits of a request in remappable format are set.
    #[error("reserved bits of the request are not zero (20h)")]
    RequestReserved,
    /// 21h: the index is beyond the table.
    #[error("index beyond the table (21h)")]
    IndexOutOfRange,
    /// 22h: the entry's P is clear.
    #[error("entry not present (22h)")]
    NotPresent,
    /// 23h: the table cannot be read.
    #[error("table cannot be read (23h)")]
    TableAccess,
    /// 24h: reserved bits of a present entry are set.
    #[error("reserved bits of the entry are not zero (24h)")]
    EntryReserved,
    /// 25h: requests in compatibility format are blocked.
    #[error("compatibility format is blocked (25h)")]
    CompatibilityBlocked,
    /// 26h: the device is not the one that SID, SQ and SVT of the entry name.
    #[error("source-id not accepted by the entry (26h)")]
    SourceId,
    /// 27h: the posted-interrupt descriptor cannot be accessed.
    #[error("posted-interrupt descriptor cannot be accessed (27h)")]
    DescriptorAccess,
    /// 28h: reserved bits of the posted-interrupt descriptor are set.
    #[error("reserved bits of the posted-interrupt descriptor are not zero (28h)")]
    DescriptorReserved,
}

impl VtdFaultReason {
    /// The code in a fault record's FR field.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::RequestReserved => 0x20,
            Self::IndexOutOfRange => 0x21,
            Self::NotPresent => 0x22,
            Self::TableAccess => 0x23,
            Self::EntryReserved => 0x24,
            Self::CompatibilityBlocked => 0x25,
            Self::SourceId => 0x26,
            Self::DescriptorAccess => 0x27,
            Self::DescriptorReserved => 0x28,
        }
    }

    /// Whether an entry's FPD keeps the fault from being recorded: true of what is found only
    /// once an entry has been read.
    #[must_use]
    pub const fn is_qualified(self) -> bool {
        match self {
            Self::NotPresent
            | Self::EntryReserved
            | Self::SourceId
            | Self::DescriptorAccess
            | Self::DescriptorReserved => true,
            Self::RequestReserved
            | Self::IndexOutOfRange
            | Self::TableAccess
            | Self::CompatibilityBlocked => false,
        }
    }
}

/// A fault recording register, for an interrupt request.
#[bitfield(u128)]
#[derive(PartialEq, Eq)]
pub struct VtdFaultRecord {
    #[bits(48)]
    _reserved_47_0: u64,
    /// Bits 63:48 of the fault information: the interrupt index, where one was computed.
    pub interrupt_index: u16,
    /// Who asked.
    pub sid: u16,
    #[bits(16)]
    _reserved_95_80: u16,
    /// FR, a [`VtdFaultReason::code`].
    pub fr: u8,
    #[bits(23)]
    _reserved_126_104: u32,
    /// F: there is a fault; software writes one to clear it.
    pub f: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vtd_fault_record_fields_one_hot_are_where_the_spec_puts_them() {
        let zero = VtdFaultRecord::new();
        assert_eq!(zero.with_interrupt_index(0xffff).into_bits(), 0xffff << 48);
        assert_eq!(zero.with_sid(0xffff).into_bits(), 0xffff << 64);
        assert_eq!(zero.with_fr(0xff).into_bits(), 0xff << 96);
        assert_eq!(zero.with_f(true).into_bits(), 1 << 127);
    }

    #[test]
    fn vtd_fault_codes_are_20h_to_28h_and_say_so() {
        let reasons = [
            VtdFaultReason::RequestReserved,
            VtdFaultReason::IndexOutOfRange,
            VtdFaultReason::NotPresent,
            VtdFaultReason::TableAccess,
            VtdFaultReason::EntryReserved,
            VtdFaultReason::CompatibilityBlocked,
            VtdFaultReason::SourceId,
            VtdFaultReason::DescriptorAccess,
            VtdFaultReason::DescriptorReserved,
        ];
        for (reason, code) in reasons.into_iter().zip(0x20..) {
            assert_eq!(reason.code(), code);
            assert!(reason.to_string().ends_with(&format!("({code:x}h)")));
        }
    }

    #[test]
    fn faults_found_before_an_entry_is_read_are_not_qualified() {
        assert!(!VtdFaultReason::RequestReserved.is_qualified());
        assert!(!VtdFaultReason::IndexOutOfRange.is_qualified());
        assert!(!VtdFaultReason::TableAccess.is_qualified());
        assert!(!VtdFaultReason::CompatibilityBlocked.is_qualified());
    }
}
