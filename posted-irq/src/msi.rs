//! The message-signalled interrupt of x86: where a device writes, and what.
//!
//! Layouts: Intel SDM volume 3A, "Message Signalled Interrupts", sections "Message Address Register
//! Format" and "Message Data Register Format". Bits 11:5 and 63:40 of the address are no part of
//! that: the first are `KVM_FEATURE_MSI_EXT_DEST_ID` (`Documentation/virt/kvm/x86/cpuid.rst`), the
//! second `KVM_X2APIC_API_USE_32BIT_IDS` (`Documentation/virt/kvm/api.rst`). The remappable format
//! is told by bit 4, Intel VT-d specification, section "Interrupt Requests in Remappable Format".

use bitfield_struct::bitfield;

/// Value of [`MsiAddress::prefix`] in every interrupt message: `0xfee0_0000`-`0xfeef_ffff`.
const PREFIX: u16 = 0xfee;

/// The address a device writes to raise an interrupt, both halves in one word.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct MsiAddress {
    #[bits(2)]
    _reserved_1_0: u8,
    /// DM: the destination is logical. Meant only together with RH.
    pub dm: bool,
    /// RH: redirection hint, one processor of the destination is chosen.
    pub rh: bool,
    /// The message is in remappable format: its other bits name an interrupt-remapping entry.
    pub remappable: bool,
    /// Destination id 14:8 in a guest that saw `KVM_FEATURE_MSI_EXT_DEST_ID`; else reserved.
    #[bits(7)]
    pub ext_dest_id: u8,
    /// Destination id 7:0.
    pub dest_id: u8,
    /// `0xfee` in every interrupt message.
    #[bits(12, default = PREFIX)]
    pub prefix: u16,
    /// Must be zero where the VM runs with 32-bit ids.
    reserved_39_32: u8,
    /// Destination id 31:8 in the form KVM takes with `KVM_X2APIC_API_USE_32BIT_IDS`.
    #[bits(24)]
    pub dest_id_high: u32,
}

impl MsiAddress {
    /// Whether the bits are clear that KVM refuses (EINVAL) when the VM runs with 32-bit ids:
    /// 39:32 of the address, which are 7:0 of its upper half.
    #[must_use]
    pub const fn is_valid_x2apic(self) -> bool {
        self.reserved_39_32() == 0
    }
}

/// The data of an interrupt message in compatibility format.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct MsiData {
    /// Vector, 0x10-0xfe.
    pub vector: u8,
    /// How the destination takes it.
    #[bits(3)]
    pub delivery_mode: DeliveryMode,
    #[bits(3)]
    _reserved_13_11: u8,
    /// Level: assert. Ignored for edge-triggered messages.
    pub level: bool,
    /// Trigger mode: level.
    pub trigger: bool,
    _reserved_31_16: u16,
}

/// Delivery mode of an interrupt message, 3 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryMode(u8);

impl DeliveryMode {
    /// The vector, to all processors of the destination.
    pub const FIXED: Self = Self(0);
    /// The vector, to the processor of the destination that runs at the lowest priority.
    pub const LOWEST_PRIORITY: Self = Self(1);
    /// System management interrupt.
    pub const SMI: Self = Self(2);
    /// Non-maskable interrupt.
    pub const NMI: Self = Self(4);
    /// INIT.
    pub const INIT: Self = Self(5);
    /// The vector comes from an 8259.
    pub const EXT_INT: Self = Self(7);

    /// The code, 0-7.
    #[must_use]
    pub const fn into_bits(self) -> u8 {
        self.0
    }

    /// The mode with this code; only bits 2:0 count.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 7)
    }
}

/// Moves an extended destination id to where KVM looks for it.
///
/// A guest that saw `KVM_FEATURE_MSI_EXT_DEST_ID` writes destination id 14:8 to address bits 11:5.
/// KVM ignores these; with `KVM_X2APIC_API_USE_32BIT_IDS` it takes destination id 31:8 from
/// address bits 63:40. Left alone are messages in remappable format, messages that have an upper
/// half already, and addresses that raise no interrupt.
#[must_use]
pub const fn ext_dest_id_to_x2apic(address: u64) -> u64 {
    let guest = MsiAddress::from_bits(address);
    if guest.remappable() || guest.prefix() != PREFIX || address >> 32 != 0 {
        return address;
    }
    guest
        .with_dest_id_high(guest.ext_dest_id() as u32)
        .with_ext_dest_id(0)
        .into_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> MsiAddress {
        MsiAddress::from_bits(0)
    }

    #[test]
    fn msi_address_fields_one_hot_are_where_the_spec_puts_them() {
        assert_eq!(address().with_dm(true).into_bits(), 1 << 2);
        assert_eq!(address().with_rh(true).into_bits(), 1 << 3);
        assert_eq!(address().with_remappable(true).into_bits(), 1 << 4);
        assert_eq!(address().with_ext_dest_id(0x7f).into_bits(), 0x7f << 5);
        assert_eq!(address().with_dest_id(0xff).into_bits(), 0xff << 12);
        assert_eq!(address().with_prefix(0xfff).into_bits(), 0xfff << 20);
        assert_eq!(
            address().with_dest_id_high(0xff_ffff).into_bits(),
            0xff_ffff << 40
        );
    }

    #[test]
    fn msi_address_new_has_the_interrupt_prefix() {
        assert_eq!(MsiAddress::new().into_bits(), 0xfee0_0000);
    }

    #[test]
    fn msi_address_validity_depends_on_bits_39_32_only() {
        assert!(MsiAddress::from_bits(!(0xff << 32)).is_valid_x2apic());
        for bit in 32..40 {
            assert!(!MsiAddress::from_bits(1 << bit).is_valid_x2apic());
        }
    }

    #[test]
    fn msi_data_fields_one_hot_are_where_the_spec_puts_them() {
        let data = MsiData::new();
        assert_eq!(data.with_vector(0xff).into_bits(), 0xff);
        let every_mode_bit = DeliveryMode::from_bits(7);
        assert_eq!(
            data.with_delivery_mode(every_mode_bit).into_bits(),
            0b111 << 8
        );
        assert_eq!(data.with_level(true).into_bits(), 1 << 14);
        assert_eq!(data.with_trigger(true).into_bits(), 1 << 15);
    }

    #[test]
    fn delivery_mode_codes_are_those_of_the_spec() {
        let codes = [
            (DeliveryMode::FIXED, 0),
            (DeliveryMode::LOWEST_PRIORITY, 1),
            (DeliveryMode::SMI, 2),
            (DeliveryMode::NMI, 4),
            (DeliveryMode::INIT, 5),
            (DeliveryMode::EXT_INT, 7),
        ];
        for (mode, code) in codes {
            assert_eq!(MsiData::from_bits(code << 8).delivery_mode(), mode);
        }
    }

    #[test]
    fn ext_dest_id_moves_to_bits_46_40() {
        for bit in 0..7 {
            let guest = 0xfee0_0000 | 1 << (5 + bit);
            assert_eq!(
                ext_dest_id_to_x2apic(guest),
                1 << (40 + bit) | 0xfee0_0000,
                "destination id bit {}",
                8 + bit
            );
        }
    }

    #[test]
    fn ext_dest_id_translation_keeps_every_other_field() {
        // Destination 0x1234: low byte in 19:12, 0x12 in 11:5; RH and DM set.
        let guest = 0xfee3_4000 | 0x12 << 5 | 0b1100;
        assert_eq!(ext_dest_id_to_x2apic(guest), 0x12 << 40 | 0xfee3_400c);
    }

    #[test]
    fn ext_dest_id_translation_leaves_remappable_messages_alone() {
        let remappable = 0xfee0_0000 | 0x7f << 5 | 1 << 4;
        assert_eq!(ext_dest_id_to_x2apic(remappable), remappable);
    }

    #[test]
    fn ext_dest_id_translation_leaves_a_present_upper_half_alone() {
        let translated = 0x12 << 40 | 0xfee3_4000 | 0x7f << 5;
        assert_eq!(ext_dest_id_to_x2apic(translated), translated);
    }

    #[test]
    fn ext_dest_id_translation_leaves_other_addresses_alone() {
        let memory = 0x8000_0fe0;
        assert_eq!(ext_dest_id_to_x2apic(memory), memory);
    }

    #[test]
    fn ext_dest_id_translation_twice_is_translation_once() {
        let once = ext_dest_id_to_x2apic(0xfee3_4000 | 0x12 << 5);
        assert_eq!(ext_dest_id_to_x2apic(once), once);
    }
}
