//! The 64 bytes of a posted-interrupt descriptor, and where they may lie.

use super::PiControl;

/// Size and alignment of a posted-interrupt descriptor.
pub const PID_BYTES: usize = 64;

/// Physical address of a posted-interrupt descriptor: aligned to 64 bytes by construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PiDescAddress(u64);

/// The address is not aligned to 64 bytes, so no IRTE can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("posted-interrupt descriptor address {address:#x} is not aligned to 64 bytes")]
pub struct UnalignedDescriptor {
    /// The address.
    pub address: u64,
}

impl PiDescAddress {
    /// Takes an address.
    ///
    /// # Errors
    ///
    /// [`UnalignedDescriptor`] if one of bits 5:0 is set.
    pub const fn new(address: u64) -> Result<Self, UnalignedDescriptor> {
        if address.is_multiple_of(PID_BYTES as u64) {
            Ok(Self(address))
        } else {
            Err(UnalignedDescriptor { address })
        }
    }

    /// The address.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address that a posted IRTE's two fields make: `low` has address bits 31:6.
    pub(crate) const fn from_fields(low: u32, high: u32) -> Self {
        Self((high as u64) << 32 | ((low as u64) << 6) & 0xffff_ffff)
    }

    /// Address bits 31:6.
    pub(crate) const fn low(self) -> u32 {
        ((self.0 & 0xffff_ffff) >> 6) as u32
    }

    /// Address bits 63:32.
    pub(crate) const fn high(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// A descriptor read out of memory: PIR in bits 255:0, control in 319:256, the rest reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PiDescImage {
    /// One bit for each vector.
    pub pir: [u64; 4],
    /// ON, SN, NV, NDST.
    pub control: PiControl,
    /// Bits 511:320, must be zero.
    pub reserved_511_320: [u64; 3],
}

impl PiDescImage {
    /// The descriptor these bytes are.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; PID_BYTES]) -> Self {
        let mut words = [0; 8];
        for (word, chunk) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*chunk);
        }
        let [a, b, c, d, control, e, f, g] = words;
        Self {
            pir: [a, b, c, d],
            control: PiControl::from_bits(control),
            reserved_511_320: [e, f, g],
        }
    }

    /// The bytes of the descriptor.
    #[must_use]
    pub fn to_bytes(self) -> [u8; PID_BYTES] {
        let [a, b, c, d] = self.pir;
        let [e, f, g] = self.reserved_511_320;
        let words = [a, b, c, d, self.control.into_bits(), e, f, g];
        let mut bytes = [0; PID_BYTES];
        for (chunk, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *chunk = word.to_le_bytes();
        }
        bytes
    }

    /// Whether all reserved bits are zero; hardware refuses others with fault reason 28h.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        let [a, b, c] = self.reserved_511_320;
        a | b | c == 0 && self.control.reserved_15_2() == 0 && self.control.reserved_31_24() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_image_one_hot_bits_land_in_their_fields() {
        for bit in 0..512 {
            let mut bytes = [0; PID_BYTES];
            bytes[bit / 8] = 1 << (bit % 8);
            let image = PiDescImage::from_bytes(&bytes);
            assert_eq!(image.to_bytes(), bytes, "bit {bit}");
            let (word, in_word) = (bit / 64, 1_u64 << (bit % 64));
            match word {
                0..4 => assert_eq!(image.pir[word], in_word, "bit {bit}"),
                4 => assert_eq!(image.control.into_bits(), in_word, "bit {bit}"),
                _ => assert_eq!(image.reserved_511_320[word - 5], in_word, "bit {bit}"),
            }
            // PIR, ON, SN, NV and NDST are the guest's to set.
            let used = bit < 258 || (272..280).contains(&bit) || (288..320).contains(&bit);
            assert_eq!(image.is_valid(), used, "bit {bit}");
        }
    }

    #[test]
    fn unaligned_descriptor_is_refused() {
        for bit in 0..6 {
            let address = 0x1000 | 1 << bit;
            assert_eq!(
                PiDescAddress::new(address),
                Err(UnalignedDescriptor { address })
            );
        }
        assert_eq!(
            PiDescAddress::new(0x1040).map(PiDescAddress::get),
            Ok(0x1040)
        );
    }

    #[test]
    fn descriptor_address_of_every_bit_survives_its_two_fields() {
        for bit in 6..64 {
            let address = PiDescAddress::new(1 << bit).unwrap();
            let fields = PiDescAddress::from_fields(address.low(), address.high());
            assert_eq!(fields, address, "bit {bit}");
        }
    }
}
