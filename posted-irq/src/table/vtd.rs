//! A VT-d interrupt-remapping table as the host keeps it.
//!
//! An entry is changed by one 128-bit exchange, which returns the entry that it replaced. So the
//! writer reads nothing beforehand: an atomic load of 128 bits is a call of its own, and costs
//! half an exchange more. Linux exchanges only where an entry posts, or did, and stores two halves
//! between remapped ones (`drivers/iommu/intel/irq_remapping.c`, `modify_irte`); here no entry is
//! ever seen torn. The exchange is `cmpxchg16b` where the processor has it, which `portable-atomic`
//! finds out when it runs; where not, it takes a lock that only this process sees.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use portable_atomic::AtomicU128;

use super::IrteBlock;
use super::TableError;
use super::blocks::Blocks;
use crate::primitive::Mutex;
use crate::vtd::IecInvalidation;
use crate::vtd::VtdIrte;

/// Largest table there is.
const MAX_ENTRIES: u32 = 65_536;

/// Whether the remapping unit caches entries that are not present (`CAP_REG.CM`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CachingMode {
    /// It does not, as hardware: making an entry present invalidates nothing.
    PresentOnly,
    /// It does, as emulators say to be told of each change.
    All,
}

/// What an update did, and what is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what hardware has cached stays in force until it is invalidated"]
pub struct VtdUpdate {
    /// What the entry said before: not what the caller made it say last, if there is another
    /// writer.
    pub replaced: VtdIrte,
    /// What the caller must queue and wait for, before the old target goes away.
    pub invalidate: Option<IecInvalidation>,
}

/// See the module's text.
#[derive(Debug)]
pub struct VtdIrteTable {
    entries: Box<[AtomicU128]>,
    caching: CachingMode,
    /// Leaf lock, for taking and giving back only; updates go without.
    blocks: Mutex<Blocks>,
}

impl VtdIrteTable {
    /// A table with no entry present, of 2-65536 entries, a power of two.
    ///
    /// # Errors
    ///
    /// [`TableError::Size`] for another number.
    pub fn new(entries: u32, caching: CachingMode) -> Result<Self, TableError> {
        if !entries.is_power_of_two() || !(2..=MAX_ENTRIES).contains(&entries) {
            return Err(TableError::Size { entries });
        }
        Ok(Self {
            entries: (0..entries).map(|_| AtomicU128::new(0)).collect(),
            caching,
            blocks: Mutex::new(Blocks::new(entries)),
        })
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

    /// Gives entries back, none of them present any more. One invalidation covers them all, and
    /// none is asked for where none was present.
    ///
    /// # Errors
    ///
    /// [`TableError::Foreign`] for another table's block.
    pub fn free(&self, block: IrteBlock) -> Result<Option<IecInvalidation>, TableError> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.free(&block)?;
        let first = usize::from(block.first());
        let mut cached = false;
        for entry in &self.entries[first..first + block.count() as usize] {
            // Release: who finds the entry gone sees all that was done before.
            let old = VtdIrte::from_bits(entry.swap(0, Ordering::AcqRel));
            cached |= self.must_invalidate(old, VtdIrte::default());
        }
        Ok(cached.then(|| IecInvalidation::Index {
            index: block.first(),
            mask: block.order(),
        }))
    }

    /// The entry at this index, as hardware would read it; `None` beyond the table.
    #[must_use]
    pub fn get(&self, index: u16) -> Option<VtdIrte> {
        let entry = self.entries.get(usize::from(index))?;
        // Acquire: pairs with the release of the writes; what the entry points to is there.
        Some(VtdIrte::from_bits(entry.load(Ordering::Acquire)))
    }

    /// Makes entry `at` of a block say this.
    ///
    /// The block is shared on purpose, so that several links can have entries of it. Of two that
    /// write the same entry one comes first, and each is told what it replaced.
    ///
    /// # Errors
    ///
    /// [`TableError::OutOfBlock`], [`TableError::Foreign`] for a block that reaches beyond the
    /// table.
    #[inline]
    pub fn update(
        &self,
        block: &IrteBlock,
        at: u16,
        new: VtdIrte,
    ) -> Result<VtdUpdate, TableError> {
        let index = block.index(at)?;
        let first = block.first();
        let entry = self.entries.get(usize::from(index));
        let entry = entry.ok_or(TableError::Foreign { first })?;
        // Release: the descriptor is set up before hardware can post into it. Acquire: who undoes
        // another's entry sees what that one set up.
        let replaced = VtdIrte::from_bits(entry.swap(new.into_bits(), Ordering::AcqRel));
        let invalidate = self
            .must_invalidate(replaced, new)
            .then_some(IecInvalidation::Index { index, mask: 0 });
        Ok(VtdUpdate {
            replaced,
            invalidate,
        })
    }

    /// Whether hardware may go on with the old entry: it has it cached, and the new one differs
    /// in more than software's own bits.
    const fn must_invalidate(&self, old: VtdIrte, new: VtdIrte) -> bool {
        let cached = old.is_present() || matches!(self.caching, CachingMode::All);
        cached && (old.into_bits() ^ new.into_bits()) & !VtdIrte::AVAIL != 0
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
