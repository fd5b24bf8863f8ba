//! Interrupt-remapping entries of VT-d, remapped and posted.
//!
//! Layouts: VT-d specification, sections "Interrupt Remapping Table Entry (IRTE) for Remapped
//! Interrupts" and "... for Posted Interrupts". The two share P, FPD, the available bits, IM, the
//! vector's place, SID, SQ and SVT; what lies between is reserved in one where used in the other.

use bitfield_struct::bitfield;

use super::PiDescAddress;
use super::VtdFaultReason;
use crate::ids::ApicIdFormat;
use crate::ids::SourceId;
use crate::msi::DeliveryMode;

#[cfg(test)]
mod tests;

/// An entry that makes an interrupt message.
#[bitfield(u128)]
#[derive(PartialEq, Eq)]
pub struct VtdRemapped {
    /// P, present.
    pub p: bool,
    /// FPD: qualified faults are not recorded.
    pub fpd: bool,
    /// DM: the destination is logical.
    pub dm: bool,
    /// RH: redirection hint.
    pub rh: bool,
    /// TM: level-triggered. Linux leaves it clear; the IOAPIC's pin says what it is.
    pub tm: bool,
    /// DLM, delivery mode.
    #[bits(3)]
    pub dlm: DeliveryMode,
    /// Software's own.
    #[bits(4)]
    pub avail: u8,
    /// Must be zero.
    #[bits(3)]
    pub reserved_14_12: u8,
    /// IM (`PST` in Linux): clear in this format.
    pub im: bool,
    /// V, the vector as the host sees it.
    pub vector: u8,
    /// Must be zero.
    pub reserved_31_24: u8,
    /// DST, written as [`ApicIdFormat::encode_vtd`] says.
    pub dst: u32,
    /// SID, who may use the entry.
    pub sid: u16,
    /// SQ, which bits of it count.
    #[bits(2)]
    pub sq: SourceQualifier,
    /// SVT, whether it is looked at.
    #[bits(2)]
    pub svt: SourceValidation,
    /// Must be zero.
    #[bits(12)]
    pub reserved_95_84: u16,
    /// Must be zero.
    pub reserved_127_96: u32,
}

/// An entry that posts into a descriptor.
#[bitfield(u128)]
#[derive(PartialEq, Eq)]
pub struct VtdPosted {
    /// P, present.
    pub p: bool,
    /// FPD: qualified faults are not recorded.
    pub fpd: bool,
    /// Must be zero.
    #[bits(6)]
    pub reserved_7_2: u8,
    /// Software's own.
    #[bits(4)]
    pub avail: u8,
    /// Must be zero.
    #[bits(2)]
    pub reserved_13_12: u8,
    /// URG: notifies even where the descriptor's SN is set.
    pub urg: bool,
    /// IM (`PST` in Linux): set in this format.
    #[bits(default = true)]
    pub im: bool,
    /// VV, the vector as the guest sees it.
    pub vector: u8,
    /// Must be zero.
    #[bits(14)]
    pub reserved_37_24: u16,
    /// PDA bits 31:6.
    #[bits(26)]
    pub pda_low: u32,
    /// SID, who may use the entry.
    pub sid: u16,
    /// SQ, which bits of it count.
    #[bits(2)]
    pub sq: SourceQualifier,
    /// SVT, whether it is looked at.
    #[bits(2)]
    pub svt: SourceValidation,
    /// Must be zero.
    #[bits(12)]
    pub reserved_95_84: u16,
    /// PDA bits 63:32.
    pub pda_high: u32,
}

impl VtdPosted {
    /// The descriptor it posts into.
    #[must_use]
    pub const fn descriptor(self) -> PiDescAddress {
        PiDescAddress::from_fields(self.pda_low(), self.pda_high())
    }
}

/// SVT, what of the requester's id is checked, 2 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SourceValidation {
    /// Nothing.
    None = 0,
    /// It equals SID in the bits that SQ leaves.
    Source = 1,
    /// Its bus is one of SID 15:8 to SID 7:0.
    Bus = 2,
    /// Reserved.
    Reserved = 3,
}

impl SourceValidation {
    pub(crate) const fn into_bits(self) -> u8 {
        self as u8
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::None,
            1 => Self::Source,
            2 => Self::Bus,
            _ => Self::Reserved,
        }
    }
}

/// SQ, which bits of the function number are ignored when SVT says source, 2 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SourceQualifier {
    /// None.
    All = 0,
    /// Bit 2.
    IgnoreBit2 = 1,
    /// Bits 2:1.
    IgnoreBits2To1 = 2,
    /// Bits 2:0: any function of the device.
    IgnoreBits2To0 = 3,
}

impl SourceQualifier {
    pub(crate) const fn into_bits(self) -> u8 {
        self as u8
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::All,
            1 => Self::IgnoreBit2,
            2 => Self::IgnoreBits2To1,
            _ => Self::IgnoreBits2To0,
        }
    }

    /// The bits of the id that count.
    #[must_use]
    pub const fn mask(self) -> u16 {
        match self {
            Self::All => 0xffff,
            Self::IgnoreBit2 => 0xfffb,
            Self::IgnoreBits2To1 => 0xfff9,
            Self::IgnoreBits2To0 => 0xfff8,
        }
    }
}

/// Whether the remapping unit the entry is for knows posted interrupts (`CAP_REG.PI`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PostedInterrupts {
    /// It does; an entry with IM set is in posted format.
    Offered,
    /// It does not; IM is one more reserved bit.
    NotOffered,
}

/// URG of a posted entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Urgency {
    /// A descriptor with SN set is not notified.
    Normal,
    /// It is. Linux never asks for it.
    Urgent,
}

/// Where an entry is to post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VtdPostTarget {
    /// The vCPU's descriptor.
    pub descriptor: PiDescAddress,
    /// The vector the guest expects.
    pub vector: u8,
    /// Whether it gets through suppression.
    pub urgency: Urgency,
}

/// An entry in one format or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VtdIrteFormat {
    /// IM clear.
    Remapped(VtdRemapped),
    /// IM set.
    Posted(VtdPosted),
}

/// 128 bits of an entry, whatever they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VtdIrte(u128);

impl From<VtdRemapped> for VtdIrte {
    fn from(entry: VtdRemapped) -> Self {
        Self(entry.into_bits())
    }
}

impl From<VtdPosted> for VtdIrte {
    fn from(entry: VtdPosted) -> Self {
        Self(entry.into_bits())
    }
}

impl VtdIrte {
    /// The bits available to software.
    pub(crate) const AVAIL: u128 = 0xf << 8;

    /// An entry of these bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[must_use]
    pub const fn into_bits(self) -> u128 {
        self.0
    }

    /// P.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.0 & 1 != 0
    }

    /// FPD; counts even where P is clear.
    #[must_use]
    pub const fn is_fault_processing_disabled(self) -> bool {
        self.0 & 2 != 0
    }

    /// IM.
    #[must_use]
    pub const fn is_posted(self) -> bool {
        self.0 & 1 << 15 != 0
    }

    /// The entry as IM says it is to be read.
    #[must_use]
    pub const fn format(self) -> VtdIrteFormat {
        if self.is_posted() {
            VtdIrteFormat::Posted(VtdPosted::from_bits(self.0))
        } else {
            VtdIrteFormat::Remapped(VtdRemapped::from_bits(self.0))
        }
    }

    /// This entry turned to post: present, fault processing, software's bits and the source check
    /// stay, all else comes from the target.
    #[must_use]
    pub const fn posting_to(self, target: VtdPostTarget) -> Self {
        let host = VtdPosted::from_bits(self.0);
        let posted = VtdPosted::new()
            .with_p(host.p())
            .with_fpd(host.fpd())
            .with_avail(host.avail())
            .with_sid(host.sid())
            .with_sq(host.sq())
            .with_svt(host.svt())
            .with_urg(matches!(target.urgency, Urgency::Urgent))
            .with_vector(target.vector)
            .with_pda_low(target.descriptor.low())
            .with_pda_high(target.descriptor.high());
        Self(posted.into_bits())
    }

    /// Whether hardware would take the entry, which a guest may have filled with anything.
    ///
    /// Reserved are, beside the bits the layouts name: SVT 3; IM where posting is not offered; in
    /// remapped format the delivery modes 3 and 6 and, with 8-bit APIC ids, all of the destination
    /// but bits 15:8.
    ///
    /// # Errors
    ///
    /// [`VtdFaultReason::NotPresent`] or [`VtdFaultReason::EntryReserved`], in this order.
    pub const fn validate(
        self,
        apic_ids: ApicIdFormat,
        posting: PostedInterrupts,
    ) -> Result<VtdIrteFormat, VtdFaultReason> {
        if !self.is_present() {
            return Err(VtdFaultReason::NotPresent);
        }
        let reserved = match self.format() {
            VtdIrteFormat::Remapped(entry) => {
                entry.reserved_14_12() != 0
                    || entry.reserved_31_24() != 0
                    || entry.reserved_95_84() != 0
                    || entry.reserved_127_96() != 0
                    || matches!(entry.svt(), SourceValidation::Reserved)
                    || matches!(entry.dlm().into_bits(), 3 | 6)
                    || matches!(apic_ids, ApicIdFormat::XApic) && entry.dst() & !0xff00 != 0
            }
            VtdIrteFormat::Posted(entry) => {
                matches!(posting, PostedInterrupts::NotOffered)
                    || entry.reserved_7_2() != 0
                    || entry.reserved_13_12() != 0
                    || entry.reserved_37_24() != 0
                    || entry.reserved_95_84() != 0
                    || matches!(entry.svt(), SourceValidation::Reserved)
            }
        };
        if reserved {
            Err(VtdFaultReason::EntryReserved)
        } else {
            Ok(self.format())
        }
    }

    /// Whether SID, SQ and SVT let this device use the entry.
    #[must_use]
    pub const fn accepts(self, source: SourceId) -> bool {
        // The three fields lie alike in both formats.
        let entry = VtdRemapped::from_bits(self.0);
        match entry.svt() {
            SourceValidation::None => true,
            SourceValidation::Source => (entry.sid() ^ source.0) & entry.sq().mask() == 0,
            SourceValidation::Bus => {
                let [last, first] = entry.sid().to_le_bytes();
                let [_, bus] = source.0.to_le_bytes();
                first <= bus && bus <= last
            }
            SourceValidation::Reserved => false,
        }
    }
}
