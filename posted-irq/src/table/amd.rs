//! A device's interrupt-remapping table for the AMD IOMMU, with 128-bit entries.
//!
//! Every change is one 128-bit exchange that returns the entry it replaced. What follows it is the
//! invalidation of the device's whole table, there being none for a single entry, except where
//! hardware reads the changed fields anew for each interrupt (`drivers/iommu/amd/iommu.c`,
//! `amd_iommu_update_ga`).

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use portable_atomic::AtomicU128;

use super::IrteBlock;
use super::TableError;
use super::blocks::Blocks;
use crate::amd::AmdInvalidation;
use crate::amd::AmdIrte;
use crate::ids::SourceId;
use crate::message::AMD_TABLE_MAX;
use crate::primitive::Mutex;

/// What an update did, and what is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what hardware has cached stays in force until it is invalidated"]
pub struct AmdUpdate {
    /// What the entry said before: not what the caller made it say last, if there is another
    /// writer.
    pub replaced: AmdIrte,
    /// What the caller must queue, and complete with a COMPLETION_WAIT.
    pub invalidate: Option<AmdInvalidation>,
}

/// See the module's text.
#[derive(Debug)]
pub struct AmdIrteTable {
    device: SourceId,
    entries: Box<[AtomicU128]>,
    /// Leaf lock, for taking and giving back only; updates go without.
    blocks: Mutex<Blocks>,
}

impl AmdIrteTable {
    /// A table with no entry enabled, of 1-2048 entries, a power of two.
    ///
    /// # Errors
    ///
    /// [`TableError::Size`] for another number.
    pub fn new(device: SourceId, entries: u32) -> Result<Self, TableError> {
        if !entries.is_power_of_two() || entries > u32::from(AMD_TABLE_MAX) {
            return Err(TableError::Size { entries });
        }
        Ok(Self {
            device,
            entries: (0..entries).map(|_| AtomicU128::new(0)).collect(),
            blocks: Mutex::new(Blocks::new(entries)),
        })
    }

    /// Whose interrupts it remaps.
    #[must_use]
    pub const fn device(&self) -> SourceId {
        self.device
    }

    /// Takes `count` entries in a row, rounded up to a power of two and aligned to it.
    ///
    /// # Errors
    ///
    /// [`TableError::Full`].
    pub fn allocate(&self, count: u32) -> Result<IrteBlock, TableError> {
        // A thread that panicked under this lock has left the list whole.
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.allocate(count)
    }

    /// Gives entries back, none of them enabled any more.
    ///
    /// # Errors
    ///
    /// [`TableError::Foreign`] for another table's block.
    pub fn free(&self, block: IrteBlock) -> Result<Option<AmdInvalidation>, TableError> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.free(&block)?;
        let first = usize::from(block.first());
        let mut cached = false;
        for entry in &self.entries[first..first + block.count() as usize] {
            // Release: who finds the entry gone sees all that was done before.
            let old = AmdIrte::from_bits(entry.swap(0, Ordering::AcqRel));
            cached |= old.is_enabled();
        }
        Ok(cached.then_some(AmdInvalidation::InterruptTable(self.device)))
    }

    /// The entry at this index, as hardware would read it; `None` beyond the table.
    #[must_use]
    pub fn get(&self, index: u16) -> Option<AmdIrte> {
        let entry = self.entries.get(usize::from(index))?;
        // Acquire: pairs with the release of the writes; what the entry points to is there.
        Some(AmdIrte::from_bits(entry.load(Ordering::Acquire)))
    }

    /// Makes entry `at` of a block say this.
    ///
    /// # Errors
    ///
    /// [`TableError::OutOfBlock`], [`TableError::Foreign`] for a block that reaches beyond the
    /// table.
    pub fn update(
        &self,
        block: &IrteBlock,
        at: u16,
        new: AmdIrte,
    ) -> Result<AmdUpdate, TableError> {
        let index = block.index(at)?;
        let first = block.first();
        let entry = self.entries.get(usize::from(index));
        let entry = entry.ok_or(TableError::Foreign { first })?;
        // Release: the backing page is set up before hardware can post into it. Acquire: who
        // undoes another's entry sees what that one set up.
        let replaced = AmdIrte::from_bits(entry.swap(new.into_bits(), Ordering::AcqRel));
        Ok(AmdUpdate {
            replaced,
            invalidate: must_invalidate(replaced, new)
                .then_some(AmdInvalidation::InterruptTable(self.device)),
        })
    }
}

/// Whether hardware may go on with the old entry. Entries with RemapEn clear are not cached
/// (NpCache of the capability block is zero in hardware).
const fn must_invalidate(old: AmdIrte, new: AmdIrte) -> bool {
    if !old.is_enabled() {
        return false;
    }
    let fresh = if old.is_guest_mode() && new.is_guest_mode() {
        AmdIrte::NOT_CACHED
    } else {
        0
    };
    (old.into_bits() ^ new.into_bits()) & !fresh != 0
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::amd::AmdGuest;
    use crate::amd::AmdRemapped;
    use crate::amd::GaTag;
    use crate::ids::ApicId;

    const DEVICE: SourceId = SourceId(0x0300);

    #[test]
    fn amd_update_of_fields_not_cached_invalidates_nothing() {
        let table = AmdIrteTable::new(DEVICE, 32).unwrap();
        let block = table.allocate(1).unwrap();
        let all = Some(AmdInvalidation::InterruptTable(DEVICE));
        let guest = AmdGuest::new().with_remap_en(true).with_vector(0x41);
        let host = AmdRemapped::new().with_remap_en(true).with_vector(0x50);
        let invalidate = |new: AmdIrte| table.update(&block, 0, new).unwrap().invalidate;

        assert_eq!(invalidate(host.into()), None, "was not enabled");
        assert_eq!(invalidate(guest.into()), all, "posts");
        let guest = guest.with_is_run(true);
        assert_eq!(invalidate(guest.into()), None, "IsRun");
        let guest = guest.with_destination(ApicId(0x1234_5678));
        assert_eq!(invalidate(guest.into()), None, "destination");
        let guest = guest.with_ga_tag(GaTag::new().with_vm(1));
        assert_eq!(invalidate(guest.into()), None, "GATag");
        let guest = guest.with_is_run(false).with_ga_log_intr(true);
        assert_eq!(invalidate(guest.into()), None, "GALogIntr");
        let guest = guest.with_vector(0x42);
        assert_eq!(invalidate(guest.into()), all, "vector");
        let guest = guest.with_ga_root(0x1234);
        assert_eq!(invalidate(guest.into()), all, "backing page");
        assert_eq!(invalidate(host.into()), all, "restored");
        let host = host.with_destination(ApicId(1));
        assert_eq!(invalidate(host.into()), all, "destination while remapped");
    }

    #[test]
    fn amd_update_of_an_unchanged_entry_invalidates_nothing() {
        let table = AmdIrteTable::new(DEVICE, 32).unwrap();
        let block = table.allocate(2).unwrap();
        let entry = AmdGuest::new().with_remap_en(true).into();
        let first = table.update(&block, 1, entry).unwrap();
        assert_eq!(first.replaced, AmdIrte::default());
        let again = AmdUpdate {
            replaced: entry,
            invalidate: None,
        };
        assert_eq!(table.update(&block, 1, entry), Ok(again));
    }

    #[test]
    fn amd_block_that_is_freed_is_cleared_and_invalidated_once() {
        let table = AmdIrteTable::new(DEVICE, 32).unwrap();
        let block = table.allocate(4).unwrap();
        let entry = AmdGuest::new().with_remap_en(true).into();
        let _ = table.update(&block, 2, entry).unwrap();
        let all = Some(AmdInvalidation::InterruptTable(DEVICE));
        assert_eq!(table.free(block), Ok(all));
        assert_eq!(table.get(2), Some(AmdIrte::default()));
        let unused = table.allocate(4).unwrap();
        assert_eq!(table.free(unused), Ok(None));
    }

    #[test]
    fn amd_table_of_a_size_that_hardware_has_not_is_refused() {
        for entries in [0, 3, 4096] {
            let refused = AmdIrteTable::new(DEVICE, entries);
            assert!(matches!(refused, Err(TableError::Size { .. })), "{entries}");
        }
    }
}
