//! Invalidation of VT-d's interrupt entry cache.

use bitfield_struct::bitfield;

/// Type of an interrupt entry cache invalidate descriptor.
const IEC: u8 = 4;

/// Interrupt Entry Cache Invalidate Descriptor, 128 bits (VT-d specification, section of that
/// name).
#[bitfield(u128)]
#[derive(PartialEq, Eq)]
pub struct IecDescriptor {
    /// Type bits 3:0, 4 for this descriptor.
    #[bits(4, default = IEC)]
    pub kind: u8,
    /// G: 0 = global, 1 = the indexes named below.
    pub index_selective: bool,
    /// Must be zero.
    #[bits(4)]
    pub reserved_8_5: u8,
    /// Type bits 6:4, zero for this descriptor.
    #[bits(3)]
    pub kind_high: u8,
    /// Must be zero.
    #[bits(15)]
    pub reserved_26_12: u16,
    /// IM: this many low bits of the index are ignored.
    #[bits(5)]
    pub im: u8,
    /// IIDX: the (first) index.
    pub iidx: u16,
    /// Must be zero.
    pub reserved_63_48: u16,
    /// Must be zero.
    pub reserved_127_64: u64,
}

/// Which cached entries are to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IecInvalidation {
    /// All.
    Global,
    /// Those whose index agrees with `index` in all but the `mask` low bits.
    Index {
        /// IIDX.
        index: u16,
        /// IM; from 16 on all indexes are meant.
        mask: u8,
    },
}

/// The descriptor is not one; hardware stops its invalidation queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IecError {
    /// It is of another type.
    #[error("descriptor {descriptor:#034x} is no interrupt entry cache invalidation")]
    Type {
        /// The descriptor.
        descriptor: u128,
    },
    /// Reserved bits are set.
    #[error("reserved bits of descriptor {descriptor:#034x} are not zero")]
    Reserved {
        /// The descriptor.
        descriptor: u128,
    },
}

impl IecInvalidation {
    /// What a descriptor from the guest's invalidation queue asks for.
    ///
    /// # Errors
    ///
    /// [`IecError`] where hardware would raise an invalidation queue error.
    pub const fn decode(descriptor: u128) -> Result<Self, IecError> {
        let fields = IecDescriptor::from_bits(descriptor);
        if fields.kind() != IEC || fields.kind_high() != 0 {
            return Err(IecError::Type { descriptor });
        }
        let reserved = fields.reserved_8_5() != 0
            || fields.reserved_26_12() != 0
            || fields.reserved_63_48() != 0
            || fields.reserved_127_64() != 0;
        if reserved {
            return Err(IecError::Reserved { descriptor });
        }
        Ok(if fields.index_selective() {
            Self::Index {
                index: fields.iidx(),
                mask: fields.im(),
            }
        } else {
            Self::Global
        })
    }

    /// The descriptor that asks for it; of `mask` bits 4:0 count.
    #[must_use]
    pub const fn encode(self) -> IecDescriptor {
        match self {
            Self::Global => IecDescriptor::new(),
            Self::Index { index, mask } => IecDescriptor::new()
                .with_index_selective(true)
                .with_im(mask & 0x1f)
                .with_iidx(index),
        }
    }

    /// The first and the last index meant. It is always one unbroken range.
    #[must_use]
    pub const fn range(self) -> (u16, u16) {
        match self {
            Self::Index { index, mask } if mask < 16 => {
                let low = (1 << mask) - 1;
                (index & !low, index | low)
            }
            Self::Global | Self::Index { .. } => (0, u16::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iec_descriptor_fields_one_hot_are_where_the_spec_puts_them() {
        let zero = IecDescriptor::from_bits(0);
        assert_eq!(zero.with_kind(0xf).into_bits(), 0xf);
        assert_eq!(zero.with_index_selective(true).into_bits(), 1 << 4);
        assert_eq!(zero.with_reserved_8_5(0xf).into_bits(), 0xf << 5);
        assert_eq!(zero.with_kind_high(7).into_bits(), 7 << 9);
        assert_eq!(zero.with_reserved_26_12(0x7fff).into_bits(), 0x7fff << 12);
        assert_eq!(zero.with_im(0x1f).into_bits(), 0x1f << 27);
        assert_eq!(zero.with_iidx(0xffff).into_bits(), 0xffff << 32);
        assert_eq!(zero.with_reserved_63_48(0xffff).into_bits(), 0xffff << 48);
        let high = zero.with_reserved_127_64(u64::MAX);
        assert_eq!(high.into_bits(), u128::from(u64::MAX) << 64);
    }

    #[test]
    fn iec_decode_is_the_opposite_of_encode() {
        let selective = IecInvalidation::Index {
            index: 0xabcd,
            mask: 5,
        };
        for invalidation in [IecInvalidation::Global, selective] {
            let descriptor = invalidation.encode().into_bits();
            assert_eq!(IecInvalidation::decode(descriptor), Ok(invalidation));
        }
    }

    #[test]
    fn iec_with_a_reserved_bit_or_another_type_is_refused() {
        let good = IecInvalidation::Global.encode().into_bits();
        for bit in (5..9).chain(12..27).chain(48..128) {
            let descriptor = good | 1 << bit;
            let refused = Err(IecError::Reserved { descriptor });
            assert_eq!(IecInvalidation::decode(descriptor), refused, "bit {bit}");
        }
        for bit in [0, 1, 3, 9, 10, 11] {
            let descriptor = good | 1 << bit;
            let refused = Err(IecError::Type { descriptor });
            assert_eq!(IecInvalidation::decode(descriptor), refused, "bit {bit}");
        }
    }

    #[test]
    fn iec_range_is_the_block_around_the_index() {
        let range = |index, mask| IecInvalidation::Index { index, mask }.range();
        assert_eq!(range(0x1234, 0), (0x1234, 0x1234));
        assert_eq!(range(0x1234, 4), (0x1230, 0x123f));
        assert_eq!(range(0xffff, 15), (0x8000, 0xffff));
        assert_eq!(range(0x1234, 16), (0, 0xffff));
        assert_eq!(range(0x1234, 31), (0, 0xffff));
        assert_eq!(IecInvalidation::Global.range(), (0, 0xffff));
    }
}
