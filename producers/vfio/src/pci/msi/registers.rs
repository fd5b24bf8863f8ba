//! The MSI capability's registers and where each shape of it has them.

use bitfield_struct::bitfield;

use super::super::access::merge;
use super::layout::MsiLayout;

/// Message Control, at byte 2 of the capability.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub(super) struct MsiControl {
    pub(super) enabled: bool,
    /// Base-2 logarithm of the number of vectors the function can have, read-only.
    #[bits(3)]
    pub(super) multiple_capable: u8,
    /// Base-2 logarithm of the number of vectors the guest has allocated.
    #[bits(3)]
    pub(super) multiple_enable: u8,
    pub(super) address_64: bool,
    pub(super) per_vector_masking: bool,
    pub(super) extended_data_capable: bool,
    pub(super) extended_data_enable: bool,
    #[bits(5)]
    reserved: u8,
}

/// What the guest has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MsiRegisters {
    pub(super) control: MsiControl,
    pub(super) address: u64,
    /// Message Data, with Extended Message Data in bits 31:16.
    pub(super) data: u32,
    /// Mask bits, one a vector.
    pub(super) mask: u32,
}

/// Bytes of the largest shape.
const LARGEST: usize = 24;

type Image = [u8; LARGEST];

impl MsiLayout {
    /// Length in config space, in bytes.
    #[must_use]
    pub fn len(&self) -> u16 {
        match (self.per_vector_masking, self.extended_data) {
            (true, _) => self.pending_at() + 4,
            (false, true) => self.data_at() + 4,
            (false, false) => self.data_at() + 2,
        }
    }

    fn data_at(&self) -> u16 {
        if self.address_64 { 12 } else { 8 }
    }

    fn mask_at(&self) -> u16 {
        self.data_at() + 4
    }

    fn pending_at(&self) -> u16 {
        self.data_at() + 8
    }

    /// The largest Multiple Message Enable.
    pub(super) fn multiple_capable(&self) -> u8 {
        // At most 5, of a number that is at most 32.
        u8::try_from(self.vectors.max(1).ilog2()).unwrap_or(0)
    }

    /// One bit for each vector.
    pub(super) fn vector_bits(&self) -> u32 {
        u32::MAX >> (32 - self.vectors.clamp(1, 32))
    }

    fn writable(&self) -> Image {
        let control = MsiControl::new()
            .with_enabled(true)
            .with_multiple_enable(7)
            .with_extended_data_enable(self.extended_data);
        let all = MsiRegisters {
            control,
            address: !3,
            data: if self.extended_data { u32::MAX } else { 0xffff },
            mask: self.vector_bits(),
        };
        all.image(self, 0)
    }
}

impl MsiRegisters {
    pub(super) fn at_reset(layout: &MsiLayout) -> Self {
        let control = MsiControl::new()
            .with_multiple_capable(layout.multiple_capable())
            .with_address_64(layout.address_64)
            .with_per_vector_masking(layout.per_vector_masking)
            .with_extended_data_capable(layout.extended_data);
        Self {
            control,
            address: 0,
            data: 0,
            mask: 0,
        }
    }

    /// The capability's bytes, identifier and next pointer left zero.
    pub(super) fn image(&self, layout: &MsiLayout, pending: u32) -> Image {
        let mut image = [0; LARGEST];
        put(&mut image, 2, self.control.into_bits().to_le_bytes());
        let [a0, a1, a2, a3, high @ ..] = self.address.to_le_bytes();
        put(&mut image, 4, [a0, a1, a2, a3]);
        if layout.address_64 {
            put(&mut image, 8, high);
        }
        put(&mut image, layout.data_at(), self.data.to_le_bytes());
        if layout.per_vector_masking {
            put(&mut image, layout.mask_at(), self.mask.to_le_bytes());
            put(&mut image, layout.pending_at(), pending.to_le_bytes());
        }
        image
    }

    /// These registers after a write from byte `at` of the capability on.
    pub(super) fn written(&self, layout: &MsiLayout, at: usize, data: &[u8]) -> Self {
        let mut image = self.image(layout, 0);
        merge(&mut image, &layout.writable(), at, data);
        let control = MsiControl::from_bits(u16::from_le_bytes(get(&image, 2)));
        let clamped = control.multiple_enable().min(layout.multiple_capable());
        let low = u32::from_le_bytes(get(&image, 4));
        let high = match layout.address_64 {
            true => u32::from_le_bytes(get(&image, 8)),
            false => 0,
        };
        Self {
            control: control.with_multiple_enable(clamped),
            address: u64::from(high) << 32 | u64::from(low),
            data: u32::from_le_bytes(get(&image, layout.data_at())),
            mask: match layout.per_vector_masking {
                true => u32::from_le_bytes(get(&image, layout.mask_at())),
                false => 0,
            },
        }
    }
}

fn put<const N: usize>(image: &mut Image, at: u16, bytes: [u8; N]) {
    for (held, byte) in image.iter_mut().skip(at.into()).zip(bytes) {
        *held = byte;
    }
}

fn get<const N: usize>(image: &Image, at: u16) -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, held) in bytes.iter_mut().zip(image.iter().skip(at.into())) {
        *byte = *held;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_fields_are_where_the_specification_has_them() {
        let bits = |control: MsiControl| control.into_bits();
        assert_eq!(bits(MsiControl::new().with_enabled(true)), 1);
        assert_eq!(bits(MsiControl::new().with_multiple_capable(7)), 0x0e);
        assert_eq!(bits(MsiControl::new().with_multiple_enable(7)), 0x70);
        assert_eq!(bits(MsiControl::new().with_address_64(true)), 0x80);
        assert_eq!(bits(MsiControl::new().with_per_vector_masking(true)), 0x100);
        assert_eq!(
            bits(MsiControl::new().with_extended_data_capable(true)),
            0x200
        );
        assert_eq!(
            bits(MsiControl::new().with_extended_data_enable(true)),
            0x400
        );
    }

    #[test]
    fn layout_lengths_are_those_of_the_specification() {
        let len = |address_64, per_vector_masking, extended_data| {
            let layout = MsiLayout {
                vectors: 1,
                address_64,
                per_vector_masking,
                extended_data,
            };
            layout.len()
        };
        assert_eq!(len(false, false, false), 10);
        assert_eq!(len(true, false, false), 14);
        assert_eq!(len(false, true, false), 20);
        assert_eq!(len(true, true, false), 24);
        assert_eq!(len(false, false, true), 12);
        assert_eq!(len(true, false, true), 16);
        assert_eq!(len(true, true, true), 24);
    }
}
