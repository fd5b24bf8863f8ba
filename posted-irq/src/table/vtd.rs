//! A VT-d interrupt-remapping table as the host keeps it.
//!
//! An entry that posts, or did, is changed by one 128-bit exchange; between two remapped ones two
//! stores do, the low half first, and a reader may see the new low half with the old high one.
//! Both are what Linux does (`drivers/iommu/intel/irq_remapping.c`, `modify_irte`). The exchange
//! is `cmpxchg16b` where the processor has it, which `portable-atomic` finds out when it runs;
//! where not, it takes a lock that only this process sees.

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
const LOW: u128 = u64::MAX as u128;

/// Whether the remapping unit caches entries that are not present (`CAP_REG.CM`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CachingMode {
    /// It does not, as hardware: making an entry present invalidates nothing.
    PresentOnly,
    /// It does, as emulators say to be told of each change.
    All,
}

/// How an entry was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IrteWrite {
    /// Not at all: it was so before.
    None,
    /// By a 64-bit store for the low half and one for the high half.
    TwoHalves,
    /// By one 128-bit exchange.
    Atomic,
}

/// What an update did, and what is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what hardware has cached stays in force until it is invalidated"]
pub struct VtdUpdate {
    /// How the entry was changed.
    pub write: IrteWrite,
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
    /// # Errors
    ///
    /// [`TableError::OutOfBlock`], [`TableError::Foreign`] for a block that reaches beyond the
    /// table; [`TableError::Raced`] if somebody else wrote the entry meanwhile. The block is
    /// shared on purpose, so that several links can have entries of it, but each entry must have
    /// one writer.
    #[inline]
    pub fn update(
        &self,
        block: &IrteBlock,
        at: u16,
        new: VtdIrte,
    ) -> Result<VtdUpdate, TableError> {
        // Relaxed: the one writer reads what it wrote itself.
        let old = self.entry(block, at)?.load(Ordering::Relaxed);
        self.exchange(block, at, VtdIrte::from_bits(old), new)
    }

    /// As [`update`](Self::update), for a writer that remembers what it wrote last, as Linux does:
    /// an atomic load of 128 bits is a good part of the cost.
    ///
    /// # Errors
    ///
    /// As `update`, where [`TableError::Raced`] also says that `old` was not what the entry said.
    /// Between two remapped entries nothing is exchanged, so nothing is compared.
    #[inline]
    pub fn exchange(
        &self,
        block: &IrteBlock,
        at: u16,
        old: VtdIrte,
        new: VtdIrte,
    ) -> Result<VtdUpdate, TableError> {
        let entry = self.entry(block, at)?;
        let index = block.first() + at;
        let write = if old == new {
            IrteWrite::None
        } else if old.is_posted() || new.is_posted() {
            // Release: the descriptor is set up before hardware can post into it.
            entry
                .compare_exchange(
                    old.into_bits(),
                    new.into_bits(),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                )
                .map_err(|_| TableError::Raced { index })?;
            IrteWrite::Atomic
        } else {
            // Release as above. Each store changes one half only.
            let half = old.into_bits() & !LOW | new.into_bits() & LOW;
            entry.store(half, Ordering::Release);
            entry.store(new.into_bits(), Ordering::Release);
            IrteWrite::TwoHalves
        };
        let invalidate = self
            .must_invalidate(old, new)
            .then_some(IecInvalidation::Index { index, mask: 0 });
        Ok(VtdUpdate { write, invalidate })
    }

    #[inline]
    fn entry(&self, block: &IrteBlock, at: u16) -> Result<&AtomicU128, TableError> {
        let index = usize::from(block.index(at)?);
        let first = block.first();
        self.entries.get(index).ok_or(TableError::Foreign { first })
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
