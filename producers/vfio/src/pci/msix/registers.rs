//! Words of the MSI-X capability and table (PCI Local Bus 3.0 §6.8.2, PCIe 5.0 §7.7.2).

use bitfield_struct::bitfield;
use irqbroker_core::MsiMessage;

use super::super::access::merge;

/// Message Control, at byte 2 of the capability.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub(super) struct MsixControl {
    /// Number of vectors less one, read-only.
    #[bits(11)]
    pub(super) size_minus_one: u16,
    #[bits(3)]
    reserved: u16,
    pub(super) function_mask: bool,
    pub(super) enabled: bool,
}

impl MsixControl {
    /// Whether vectors that are not masked themselves are deliverable.
    pub(super) fn delivers(self) -> bool {
        self.enabled() && !self.function_mask()
    }
}

/// One entry of the table, 16 bytes.
#[bitfield(u128, default = false)]
#[derive(PartialEq, Eq)]
pub(super) struct MsixEntry {
    #[bits(64)]
    pub(super) address: u64,
    #[bits(32)]
    pub(super) data: u32,
    pub(super) masked: bool,
    #[bits(31)]
    pub(super) reserved: u32,
}

/// Address bits 1:0 and all of Vector Control but the mask are read-only zero.
const WRITABLE: [u8; MsixEntry::LEN] = [
    0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 0, 0,
];

impl MsixEntry {
    pub(super) const LEN: usize = 16;

    /// As it is after a reset: masked, and the message is nothing the guest may rely on.
    pub(super) fn at_reset() -> Self {
        Self::new().with_masked(true)
    }

    pub(super) fn bytes(self) -> [u8; Self::LEN] {
        self.into_bits().to_le_bytes()
    }

    pub(super) fn write(&mut self, at: usize, data: &[u8]) {
        let mut image = self.bytes();
        merge(&mut image, &WRITABLE, at, data);
        *self = Self::from_bits(u128::from_le_bytes(image));
    }

    pub(super) fn message(self) -> MsiMessage {
        MsiMessage {
            address: self.address(),
            data: self.data(),
        }
    }

    /// The message, unless the entry is masked.
    pub(super) fn unmasked(self) -> Option<MsiMessage> {
        (!self.masked()).then(|| self.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_fields_are_where_the_specification_has_them() {
        assert_eq!(
            MsixControl::new().with_size_minus_one(0x7ff).into_bits(),
            0x07ff
        );
        assert_eq!(
            MsixControl::new().with_function_mask(true).into_bits(),
            1 << 14
        );
        assert_eq!(MsixControl::new().with_enabled(true).into_bits(), 1 << 15);
    }

    #[test]
    fn entry_fields_are_where_the_specification_has_them() {
        let bytes = MsixEntry::new()
            .with_address(0x0706_0504_0302_0100)
            .with_data(0x0b0a_0908)
            .with_masked(true)
            .bytes();
        assert_eq!(bytes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 0, 0, 0]);
    }

    #[test]
    fn entry_write_of_all_ones_leaves_reserved_bits_zero() {
        let mut entry = MsixEntry::at_reset();
        entry.write(0, &[0xff; 16]);
        assert_eq!(entry.bytes(), WRITABLE);
    }
}
