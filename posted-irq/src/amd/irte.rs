//! Interrupt-remapping entries of the AMD IOMMU: 32-bit, and 128-bit remapped or guest mode.
//!
//! Layouts: AMD IOMMU specification, section "Interrupt Remapping Tables", once with guest virtual
//! APIC not enabled and twice with it. Where RemapEn is clear all other bits but SupIOPF are
//! ignored.

use bitfield_struct::bitfield;

use super::GaTag;
use crate::ids::ApicId;

#[cfg(test)]
mod tests;

/// A 32-bit entry, used while guest virtual APIC is not enabled.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AmdLegacy {
    /// RemapEn: the entry may be used.
    pub remap_en: bool,
    /// SupIOPF: no event is logged for the entry.
    pub sup_iopf: bool,
    /// IntType: 0 fixed, 1 arbitrated, others reserved.
    #[bits(3)]
    pub int_type: u8,
    /// RqEoi.
    pub rq_eoi: bool,
    /// DM: the destination is logical.
    pub dm: bool,
    /// GuestMode: must be zero in this format.
    pub guest_mode: bool,
    /// Destination, an 8-bit APIC id.
    pub destination: u8,
    /// Vector.
    pub vector: u8,
    /// Must be zero.
    pub reserved_31_24: u8,
}

/// A 128-bit entry with GuestMode clear.
#[bitfield(u128)]
#[derive(PartialEq, Eq)]
pub struct AmdRemapped {
    /// RemapEn: the entry may be used.
    pub remap_en: bool,
    /// SupIOPF: no event is logged for the entry.
    pub sup_iopf: bool,
    /// IntType: 0 fixed, 1 arbitrated, others reserved.
    #[bits(3)]
    pub int_type: u8,
    /// RqEoi.
    pub rq_eoi: bool,
    /// DM: the destination is logical.
    pub dm: bool,
    /// GuestMode: clear in this format.
    pub guest_mode: bool,
    /// Destination bits 23:0.
    #[bits(24)]
    pub destination_low: u32,
    /// Not used in this format; software keeps the tag of the vCPU here.
    #[bits(32)]
    pub ga_tag: GaTag,
    /// Vector.
    pub vector: u8,
    /// Must be zero.
    #[bits(4)]
    pub reserved_75_72: u8,
    /// Not used in this format; software keeps the backing page here.
    #[bits(40)]
    pub ga_root: u64,
    /// Must be zero.
    #[bits(4)]
    pub reserved_119_116: u8,
    /// Destination bits 31:24.
    pub destination_high: u8,
}

impl AmdRemapped {
    /// The destination, whole.
    #[must_use]
    pub const fn destination(self) -> ApicId {
        ApicId(self.destination_low() | (self.destination_high() as u32) << 24)
    }

    /// The entry with this destination.
    #[must_use]
    pub const fn with_destination(self, ApicId(id): ApicId) -> Self {
        let [.., high] = id.to_le_bytes();
        self.with_destination_low(id & 0xff_ffff)
            .with_destination_high(high)
    }
}

/// A 128-bit entry with GuestMode set: posts into a vCPU's virtual APIC backing page.
#[bitfield(u128)]
#[derive(PartialEq, Eq)]
pub struct AmdGuest {
    /// RemapEn: the entry may be used.
    pub remap_en: bool,
    /// SupIOPF: no event is logged for the entry.
    pub sup_iopf: bool,
    /// GALogIntr: log interrupts that come while the vCPU does not run.
    pub ga_log_intr: bool,
    /// Must be zero.
    #[bits(3)]
    pub reserved_5_3: u8,
    /// IsRun: the vCPU runs on the destination, which gets a doorbell.
    pub is_run: bool,
    /// GuestMode: set in this format.
    #[bits(default = true)]
    pub guest_mode: bool,
    /// Destination bits 23:0, the physical processor.
    #[bits(24)]
    pub destination_low: u32,
    /// GATag, what the log says of the vCPU.
    #[bits(32)]
    pub ga_tag: GaTag,
    /// Vector.
    pub vector: u8,
    /// Must be zero.
    #[bits(4)]
    pub reserved_75_72: u8,
    /// Address bits 51:12 of the backing page.
    #[bits(40)]
    pub ga_root: u64,
    /// Must be zero.
    #[bits(4)]
    pub reserved_119_116: u8,
    /// Destination bits 31:24.
    pub destination_high: u8,
}

impl AmdGuest {
    /// The physical processor, whole.
    #[must_use]
    pub const fn destination(self) -> ApicId {
        AmdRemapped::from_bits(self.into_bits()).destination()
    }

    /// The entry with this physical processor.
    #[must_use]
    pub const fn with_destination(self, id: ApicId) -> Self {
        Self::from_bits(
            AmdRemapped::from_bits(self.into_bits())
                .with_destination(id)
                .into_bits(),
        )
    }
}

/// Physical address of a virtual APIC backing page: aligned to 4 KiB and within 52 bits by
/// construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackingPage(u64);

/// The address is not that of a page, so no IRTE can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("virtual APIC backing page address {address:#x} is not that of a page below 2^52")]
pub struct UnalignedBackingPage {
    /// The address.
    pub address: u64,
}

impl BackingPage {
    /// Takes an address.
    ///
    /// # Errors
    ///
    /// [`UnalignedBackingPage`] if one of bits 11:0 or 63:52 is set.
    pub const fn new(address: u64) -> Result<Self, UnalignedBackingPage> {
        if address & !0x000f_ffff_ffff_f000 == 0 {
            Ok(Self(address))
        } else {
            Err(UnalignedBackingPage { address })
        }
    }

    /// The address.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Where an entry is to post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AmdPostTarget {
    /// The vCPU's backing page.
    pub backing_page: BackingPage,
    /// The vector the guest expects.
    pub vector: u8,
}

/// An entry in one format or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmdIrteFormat {
    /// GuestMode clear.
    Remapped(AmdRemapped),
    /// GuestMode set.
    Guest(AmdGuest),
}

/// 128 bits of an entry, whatever they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AmdIrte(u128);

impl From<AmdRemapped> for AmdIrte {
    fn from(entry: AmdRemapped) -> Self {
        Self(entry.into_bits())
    }
}

impl From<AmdGuest> for AmdIrte {
    fn from(entry: AmdGuest) -> Self {
        Self(entry.into_bits())
    }
}

impl AmdIrte {
    /// What hardware reads anew for each interrupt while GuestMode is set: IsRun, GALogIntr,
    /// destination and GATag.
    ///
    /// The specification names all but GALogIntr; that one is Linux's reading
    /// (`amd_iommu_update_ga`), which changes it together with IsRun and invalidates nothing.
    pub(crate) const NOT_CACHED: u128 = 0xff << 120 | 0xffff_ffff_ffff_ff44;

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

    /// RemapEn.
    #[must_use]
    pub const fn is_enabled(self) -> bool {
        self.0 & 1 != 0
    }

    /// GuestMode.
    #[must_use]
    pub const fn is_guest_mode(self) -> bool {
        self.0 & 1 << 7 != 0
    }

    /// The entry as GuestMode says it is to be read.
    #[must_use]
    pub const fn format(self) -> AmdIrteFormat {
        if self.is_guest_mode() {
            AmdIrteFormat::Guest(AmdGuest::from_bits(self.0))
        } else {
            AmdIrteFormat::Remapped(AmdRemapped::from_bits(self.0))
        }
    }
}
