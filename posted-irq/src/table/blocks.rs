//! Which entries of a table are taken: blocks of a power of two, aligned to their size.
//!
//! Multi-message MSI wants that, and so does one invalidation with an index mask.

/// A table that was asked for too much, or the wrong thing. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// No hardware has tables of this size.
    #[error("an interrupt-remapping table cannot have {entries} entries")]
    Size {
        /// The number asked for.
        entries: u32,
    },
    /// There is no aligned block of free entries left.
    #[error("no {count} free entries in a row")]
    Full {
        /// The number asked for.
        count: u32,
    },
    /// The block has no such entry.
    #[error("entry {at} of a block of {count}")]
    OutOfBlock {
        /// Which of the block's entries, from 0.
        at: u16,
        /// How many it has.
        count: u32,
    },
    /// The block is not one of this table.
    #[error("entries {first} and following are not a block of this table")]
    Foreign {
        /// The first index of the block.
        first: u16,
    },
}

/// Entries in a row that belong to one device's interrupts.
///
/// Not `Clone`: who holds it may write its entries, and giving it back to the table ends that.
#[derive(Debug, PartialEq, Eq)]
pub struct IrteBlock {
    first: u16,
    order: u8,
}

impl IrteBlock {
    /// Index of its first entry, a multiple of the count.
    #[must_use]
    pub const fn first(&self) -> u16 {
        self.first
    }

    /// How many entries it has, a power of two.
    #[must_use]
    pub const fn count(&self) -> u32 {
        1 << self.order
    }

    /// log2 of the count.
    #[must_use]
    pub const fn order(&self) -> u8 {
        self.order
    }

    /// Index of one of its entries.
    ///
    /// # Errors
    ///
    /// [`TableError::OutOfBlock`] if it has fewer.
    pub const fn index(&self, at: u16) -> Result<u16, TableError> {
        if (at as u32) < self.count() {
            Ok(self.first + at)
        } else {
            let count = self.count();
            Err(TableError::OutOfBlock { at, count })
        }
    }
}

/// One bit for each entry, set where it is taken.
#[derive(Debug)]
pub(super) struct Blocks {
    taken: Vec<bool>,
}

impl Blocks {
    pub(super) fn new(entries: u32) -> Self {
        Self {
            taken: vec![false; entries as usize],
        }
    }

    /// The lowest aligned block with room for `count` entries.
    pub(super) fn allocate(&mut self, count: u32) -> Result<IrteBlock, TableError> {
        let size = count.max(1).checked_next_power_of_two();
        let size = size.ok_or(TableError::Full { count })? as usize;
        let (at, block) = self
            .taken
            .chunks_exact_mut(size)
            .enumerate()
            .find(|(_, block)| !block.contains(&true))
            .ok_or(TableError::Full { count })?;
        let first = u16::try_from(at * size).map_err(|_| TableError::Full { count })?;
        let order = u8::try_from(size.trailing_zeros()).map_err(|_| TableError::Full { count })?;
        block.fill(true);
        Ok(IrteBlock { first, order })
    }

    pub(super) fn free(&mut self, block: &IrteBlock) -> Result<(), TableError> {
        let first = usize::from(block.first);
        let taken = self
            .taken
            .get_mut(first..first + block.count() as usize)
            .filter(|taken| !taken.contains(&false));
        taken
            .ok_or(TableError::Foreign { first: block.first })?
            .fill(false);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_of_every_size_is_a_power_of_two_and_aligned() {
        for (count, size) in [(0, 1), (1, 1), (2, 2), (3, 4), (5, 8), (17, 32), (32, 32)] {
            let mut blocks = Blocks::new(64);
            blocks.allocate(1).unwrap();
            let block = blocks.allocate(count).unwrap();
            assert_eq!(block.count(), size);
            assert_eq!(u32::from(block.first()) % size, 0);
            assert!(block.first() > 0);
        }
    }

    #[test]
    fn full_table_refuses_and_takes_again_what_was_freed() {
        let mut blocks = Blocks::new(8);
        let first = blocks.allocate(4).unwrap();
        let second = blocks.allocate(3).unwrap();
        assert_eq!(blocks.allocate(1), Err(TableError::Full { count: 1 }));
        assert_eq!(blocks.free(&first), Ok(()));
        assert_eq!(blocks.free(&first), Err(TableError::Foreign { first: 0 }));
        assert_eq!(blocks.allocate(5), Err(TableError::Full { count: 5 }));
        assert_eq!(blocks.allocate(4), Ok(first));
        assert_eq!(second.first(), 4);
    }

    #[test]
    fn absurd_count_is_refused() {
        let mut blocks = Blocks::new(8);
        let count = u32::MAX;
        assert_eq!(blocks.allocate(count), Err(TableError::Full { count }));
    }

    #[test]
    fn entry_beyond_the_block_is_refused() {
        let block = Blocks::new(8).allocate(4).unwrap();
        assert_eq!(block.index(3), Ok(3));
        assert_eq!(
            block.index(4),
            Err(TableError::OutOfBlock { at: 4, count: 4 })
        );
    }
}
