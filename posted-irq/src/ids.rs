//! Names of processors, devices and links.

use std::fmt;

/// A virtual processor, numbered as the embedder likes; for AVIC this is the vCPU's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VcpuId(pub u32);

impl fmt::Display for VcpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vcpu {}", self.0)
    }
}

/// The id of a local APIC, 8 bits in xAPIC mode and 32 in x2APIC mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApicId(pub u32);

/// How remapping hardware writes APIC ids: VT-d's Extended Interrupt Mode Enable, AMD's XTEn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApicIdFormat {
    /// 8 bits.
    XApic,
    /// 32 bits.
    X2Apic,
}

impl ApicIdFormat {
    /// The id as VT-d wants it in an IRTE's destination and in NDST: an xAPIC id sits in bits 15:8.
    #[must_use]
    pub const fn encode_vtd(self, id: ApicId) -> u32 {
        match self {
            Self::XApic => (id.0 << 8) & 0xff00,
            Self::X2Apic => id.0,
        }
    }

    /// The opposite of [`encode_vtd`](Self::encode_vtd).
    #[must_use]
    pub const fn decode_vtd(self, field: u32) -> ApicId {
        match self {
            Self::XApic => ApicId((field >> 8) & 0xff),
            Self::X2Apic => ApicId(field),
        }
    }
}

/// PCI requester id: bus in 15:8, device in 7:3, function in 2:0. VT-d says source-id, AMD
/// device id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u16);

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(id) = self;
        write!(f, "{:02x}:{:02x}.{}", id >> 8, id >> 3 & 0x1f, id & 7)
    }
}

/// A link whose translation is cached, numbered as the embedder likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkKey(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xapic_id_sits_in_bits_15_8_and_comes_back() {
        let id = ApicId(0xa5);
        assert_eq!(ApicIdFormat::XApic.encode_vtd(id), 0xa500);
        assert_eq!(ApicIdFormat::XApic.decode_vtd(0xa500), id);
    }

    #[test]
    fn x2apic_id_fills_the_field() {
        let id = ApicId(0x1234_5678);
        assert_eq!(ApicIdFormat::X2Apic.encode_vtd(id), 0x1234_5678);
        assert_eq!(ApicIdFormat::X2Apic.decode_vtd(0x1234_5678), id);
    }

    #[test]
    fn source_id_reads_like_lspci() {
        assert_eq!(SourceId(0x3a << 8 | 0x1f << 3 | 7).to_string(), "3a:1f.7");
    }
}
