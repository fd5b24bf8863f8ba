//! Interrupt messages whole: compatibility format, VT-d's remappable format, AMD's index.
//!
//! Sources: Intel VT-d specification, section "Interrupt Requests in Remappable Format"; AMD IOMMU
//! specification, section "Interrupt Remapping Tables", which has no format of its own and takes
//! bits 10:0 of the data for an index.

use bitfield_struct::bitfield;

/// Entries an AMD interrupt-remapping table has at most: 11 bits of index.
pub const AMD_TABLE_MAX: u16 = 2048;

/// What a device writes to raise an interrupt, in whatever format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Msi {
    /// Where, `0xfee0_0000`-`0xfeef_ffff`.
    pub address: u64,
    /// What.
    pub data: u32,
}

impl Msi {
    /// Whether a write to the address is an interrupt at all.
    #[must_use]
    pub const fn is_interrupt(self) -> bool {
        self.address >> 20 == 0xfee
    }

    /// The index into the device's AMD interrupt-remapping table, 0-2047.
    #[must_use]
    pub const fn amd_index(self) -> u16 {
        let [low, high, ..] = self.data.to_le_bytes();
        u16::from_le_bytes([low, high & 7])
    }

    /// The message that leads to `index` of the device's AMD table; bits above 10 are dropped.
    ///
    /// The address names nobody: the entry does.
    #[must_use]
    pub const fn from_amd_index(index: u16) -> Self {
        Self {
            address: 0xfee0_0000,
            data: (index & (AMD_TABLE_MAX - 1)) as u32,
        }
    }
}

/// Address of a message in VT-d's remappable format, bits 31:0.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RemappableAddress {
    #[bits(2)]
    _ignored_1_0: u8,
    /// Handle bit 15.
    pub handle_high: bool,
    /// SHV: the data has a subhandle, which is added to the handle.
    pub shv: bool,
    /// Interrupt format: 1 = remappable.
    #[bits(default = true)]
    pub remappable: bool,
    /// Handle bits 14:0.
    #[bits(15)]
    pub handle_low: u16,
    /// `0xfee`.
    #[bits(12, default = 0xfee)]
    pub prefix: u16,
}

/// Data of a message in VT-d's remappable format. Ignored whole unless SHV is set.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RemappableData {
    /// What is added to the handle.
    pub subhandle: u16,
    /// Must be zero where SHV is set.
    pub reserved_31_16: u16,
}

/// A message in VT-d's remappable format, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemappableMsi {
    /// Index of the (first) interrupt-remapping entry.
    pub handle: u16,
    /// With SHV set: what is added to the handle.
    pub subhandle: Option<u16>,
}

/// The message has a reserved bit set (fault reason 20h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reserved bits of remappable message {address:#x}/{data:#x} are not zero")]
pub struct RemappableError {
    /// The message's address.
    pub address: u64,
    /// The message's data.
    pub data: u32,
}

impl RemappableMsi {
    /// Takes a message apart; `None` if it is in compatibility format or no interrupt at all.
    ///
    /// # Errors
    ///
    /// [`RemappableError`] if bits that the format reserves are set.
    pub fn decode(msi: Msi) -> Result<Option<Self>, RemappableError> {
        let [a, b, c, d, ..] = msi.address.to_le_bytes();
        let address = RemappableAddress::from_bits(u32::from_le_bytes([a, b, c, d]));
        if !msi.is_interrupt() || !address.remappable() {
            return Ok(None);
        }
        let data = RemappableData::from_bits(msi.data);
        if address.shv() && data.reserved_31_16() != 0 {
            let Msi { address, data } = msi;
            return Err(RemappableError { address, data });
        }
        Ok(Some(Self {
            handle: address.handle_low() | u16::from(address.handle_high()) << 15,
            subhandle: address.shv().then_some(data.subhandle()),
        }))
    }

    /// The message a device has to send. With a block of entries for multi-message MSI, every
    /// vector has the address of subhandle 0 and differs in data only.
    #[must_use]
    pub fn encode(self) -> Msi {
        let address = RemappableAddress::new()
            .with_handle_low(self.handle & 0x7fff)
            .with_handle_high(self.handle >> 15 != 0)
            .with_shv(self.subhandle.is_some());
        Msi {
            address: u64::from(address.into_bits()),
            data: u32::from(self.subhandle.unwrap_or(0)),
        }
    }

    /// The index the message names. It can be beyond any table: 17 bits.
    #[must_use]
    pub fn index(self) -> u32 {
        u32::from(self.handle) + u32::from(self.subhandle.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remappable_address_fields_one_hot_are_where_the_spec_puts_them() {
        let zero = RemappableAddress::from_bits(0);
        assert_eq!(zero.with_handle_high(true).into_bits(), 1 << 2);
        assert_eq!(zero.with_shv(true).into_bits(), 1 << 3);
        assert_eq!(zero.with_remappable(true).into_bits(), 1 << 4);
        assert_eq!(zero.with_handle_low(0x7fff).into_bits(), 0x7fff << 5);
        assert_eq!(zero.with_prefix(0xfff).into_bits(), 0xfff << 20);
        assert_eq!(RemappableAddress::new().into_bits(), 0xfee0_0010);
    }

    #[test]
    fn remappable_data_fields_one_hot_are_where_the_spec_puts_them() {
        let zero = RemappableData::new();
        assert_eq!(zero.with_subhandle(0xffff).into_bits(), 0xffff);
        assert_eq!(zero.with_reserved_31_16(0xffff).into_bits(), 0xffff << 16);
    }

    #[test]
    fn remappable_message_of_every_handle_bit_comes_back() {
        for bit in 0..16 {
            for subhandle in [None, Some(0), Some(1 << bit)] {
                let handle = 1 << bit;
                let message = RemappableMsi { handle, subhandle };
                assert_eq!(RemappableMsi::decode(message.encode()), Ok(Some(message)));
            }
        }
    }

    #[test]
    fn remappable_message_with_reserved_data_bits_is_refused_only_with_a_subhandle() {
        let with = Msi {
            address: 0xfee0_0018,
            data: 1 << 16,
        };
        assert!(matches!(RemappableMsi::decode(with), Err(error) if error.data == 1 << 16));
        let without = Msi {
            address: 0xfee0_0010,
            ..with
        };
        let handle_0 = RemappableMsi {
            handle: 0,
            subhandle: None,
        };
        assert_eq!(RemappableMsi::decode(without), Ok(Some(handle_0)));
    }

    #[test]
    fn compatibility_message_and_plain_write_are_not_remappable() {
        for address in [0xfee0_0000, 0x1_fee0_0010, 0x8000_0010] {
            assert_eq!(RemappableMsi::decode(Msi { address, data: 0 }), Ok(None));
        }
    }

    #[test]
    fn index_of_handle_and_subhandle_does_not_wrap() {
        let last = RemappableMsi {
            handle: 0xffff,
            subhandle: Some(0xffff),
        };
        assert_eq!(last.index(), 0x1_fffe);
    }

    #[test]
    fn amd_index_is_bits_10_0_of_the_data() {
        for bit in 0..32 {
            let msi = Msi {
                address: 0xfee0_0000,
                data: 1 << bit,
            };
            let expected = if bit < 11 { 1 << bit } else { 0 };
            assert_eq!(msi.amd_index(), expected, "data bit {bit}");
        }
        assert_eq!(Msi::from_amd_index(0x7ff).amd_index(), 0x7ff);
    }
}
