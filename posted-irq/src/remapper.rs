//! A guest's own interrupt remapping, as a VMM with the split irqchip emulates it.

use crate::amd::GaTag;
use crate::guest_memory::GuestMemory;
use crate::ids::SourceId;
use crate::message::Msi;
use crate::request::ApicRequest;
use crate::vtd::PiDescAddress;
use crate::vtd::Urgency;

mod amd;
mod vtd;

pub use amd::AmdDeviceTable;
pub use amd::AmdFault;
pub use amd::AmdIrteLayout;
pub use amd::AmdRemapper;
pub use amd::GuestMode;
pub use vtd::CompatibilityFormat;
pub use vtd::VtdFault;
pub use vtd::VtdFaultLog;
pub use vtd::VtdRecorded;
pub use vtd::VtdRemapper;

/// Where an interrupt of a device ends up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Translation {
    /// As the device sent it.
    Passed(Msi),
    /// At the local APICs, as this entry says.
    Remapped(ApicRequest),
    /// In a posted-interrupt descriptor of the guest, which runs guests of its own.
    Posted {
        /// Where in guest memory.
        descriptor: PiDescAddress,
        /// Which vector.
        vector: u8,
        /// URG.
        urgency: Urgency,
    },
    /// In a virtual APIC backing page of the guest, likewise.
    GuestMode {
        /// Where in guest memory.
        backing_page: u64,
        /// Which vector.
        vector: u8,
        /// The entry's tag.
        ga_tag: GaTag,
    },
}

/// What of a translation an invalidation names: the entry it came from, or the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(u32);

impl CacheKey {
    /// Key of what no entry was looked at for; only a global invalidation names it.
    pub const NONE: Self = Self(u32::MAX);

    /// Key of an entry in a VT-d table.
    #[must_use]
    pub const fn vtd(index: u16) -> Self {
        Self(index as u32)
    }

    /// Key of an interrupt of this device behind an AMD IOMMU.
    #[must_use]
    pub const fn amd(device: SourceId, index: u16) -> Self {
        // Below NONE, since indexes have 11 bits.
        Self((device.0 as u32) << 16 | (index & 0x7ff) as u32)
    }
}

/// A remapping unit of either make, without its cache.
pub trait Remapper {
    /// Why an interrupt was refused, and what is to be recorded of it.
    type Fault;
    /// What the guest asks to be dropped from the cache.
    type Invalidation;

    /// Takes an interrupt to where the guest's tables say.
    ///
    /// The key says which entry the answer came from. Nothing is recorded: the answer may be
    /// wanted long before an interrupt is delivered, and a fault is one only then.
    ///
    /// # Errors
    ///
    /// The fault that hardware would find.
    fn translate<M: GuestMemory + ?Sized>(
        &self,
        memory: &M,
        source: SourceId,
        msi: Msi,
    ) -> Result<(CacheKey, Translation), Self::Fault>;

    /// The first and the last key that an invalidation names; `None` for everything.
    fn keys(invalidation: Self::Invalidation) -> Option<(CacheKey, CacheKey)>;
}
