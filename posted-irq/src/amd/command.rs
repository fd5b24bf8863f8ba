//! Commands that make an AMD IOMMU forget interrupt-remapping entries.

use bitfield_struct::bitfield;

use crate::ids::SourceId;

const INVALIDATE_DEVTAB_ENTRY: u8 = 2;
const INVALIDATE_INTERRUPT_TABLE: u8 = 5;
const INVALIDATE_IOMMU_ALL: u8 = 8;

/// INVALIDATE_INTERRUPT_TABLE and INVALIDATE_DEVTAB_ENTRY, 128 bits, which differ in the opcode
/// only (AMD IOMMU specification, section "Commands").
#[bitfield(u128)]
#[derive(PartialEq, Eq)]
pub struct AmdInvalidationCommand {
    /// Whose table.
    pub device_id: u16,
    /// Must be zero.
    #[bits(44)]
    pub reserved_59_16: u64,
    /// 5, or 2 for the device table entry.
    #[bits(4)]
    pub opcode: u8,
    /// Must be zero.
    pub reserved_127_64: u64,
}

/// What is to be forgotten. There is no command for a single entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AmdInvalidation {
    /// All entries of one device.
    InterruptTable(SourceId),
    /// The device's table entry, and with it where its interrupts go.
    DeviceTableEntry(SourceId),
    /// Everything.
    All,
}

/// The command is none of those; hardware logs `ILLEGAL_COMMAND_ERROR` and stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmdCommandError {
    /// Another opcode.
    #[error("command opcode {opcode:#x} invalidates no interrupt entries")]
    Opcode {
        /// Bits 63:60.
        opcode: u8,
    },
    /// Reserved bits are set.
    #[error("reserved bits of command {command:#034x} are not zero")]
    Reserved {
        /// The command.
        command: u128,
    },
}

impl AmdInvalidation {
    /// What a command from the guest's command buffer asks for.
    ///
    /// # Errors
    ///
    /// [`AmdCommandError`] if it is another command or has reserved bits set.
    pub const fn decode(command: u128) -> Result<Self, AmdCommandError> {
        let fields = AmdInvalidationCommand::from_bits(command);
        let device = SourceId(fields.device_id());
        let (meant, device_reserved) = match fields.opcode() {
            INVALIDATE_INTERRUPT_TABLE => (Self::InterruptTable(device), 0),
            INVALIDATE_DEVTAB_ENTRY => (Self::DeviceTableEntry(device), 0),
            INVALIDATE_IOMMU_ALL => (Self::All, device.0),
            opcode => return Err(AmdCommandError::Opcode { opcode }),
        };
        if device_reserved != 0 || fields.reserved_59_16() != 0 || fields.reserved_127_64() != 0 {
            return Err(AmdCommandError::Reserved { command });
        }
        Ok(meant)
    }

    /// The command that asks for it.
    #[must_use]
    pub const fn encode(self) -> AmdInvalidationCommand {
        let (device, opcode) = match self {
            Self::InterruptTable(device) => (device.0, INVALIDATE_INTERRUPT_TABLE),
            Self::DeviceTableEntry(device) => (device.0, INVALIDATE_DEVTAB_ENTRY),
            Self::All => (0, INVALIDATE_IOMMU_ALL),
        };
        AmdInvalidationCommand::new()
            .with_device_id(device)
            .with_opcode(opcode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amd_invalidation_fields_one_hot_are_where_the_spec_puts_them() {
        let zero = AmdInvalidationCommand::new();
        assert_eq!(zero.with_device_id(0xffff).into_bits(), 0xffff);
        let reserved = zero.with_reserved_59_16((1 << 44) - 1);
        assert_eq!(reserved.into_bits(), ((1 << 44) - 1) << 16);
        assert_eq!(zero.with_opcode(0xf).into_bits(), 0xf << 60);
        let high = zero.with_reserved_127_64(u64::MAX);
        assert_eq!(high.into_bits(), u128::from(u64::MAX) << 64);
    }

    #[test]
    fn invalidate_interrupt_table_has_opcode_5() {
        let command = AmdInvalidation::InterruptTable(SourceId(0x1234)).encode();
        assert_eq!(command.into_bits(), 5 << 60 | 0x1234);
    }

    #[test]
    fn amd_invalidation_decode_is_the_opposite_of_encode() {
        for meant in [
            AmdInvalidation::InterruptTable(SourceId(0xffff)),
            AmdInvalidation::DeviceTableEntry(SourceId(0x8001)),
            AmdInvalidation::All,
        ] {
            let command = meant.encode().into_bits();
            assert_eq!(AmdInvalidation::decode(command), Ok(meant));
        }
    }

    #[test]
    fn amd_invalidation_with_a_reserved_bit_or_another_opcode_is_refused() {
        for bit in (16..60).chain(64..128) {
            let command = 5 << 60 | 1 << bit;
            let refused = Err(AmdCommandError::Reserved { command });
            assert_eq!(AmdInvalidation::decode(command), refused, "bit {bit}");
        }
        let command = 8 << 60 | 1;
        let refused = Err(AmdCommandError::Reserved { command });
        assert_eq!(AmdInvalidation::decode(command), refused);
        // COMPLETION_WAIT.
        let opcode = 1;
        let refused = Err(AmdCommandError::Opcode { opcode });
        assert_eq!(AmdInvalidation::decode(1 << 60), refused);
    }
}
