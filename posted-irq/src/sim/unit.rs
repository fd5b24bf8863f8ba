//! A remapping unit: its table, what it has cached of it, its invalidation queue.

use std::collections::VecDeque;

use crate::table::CachingMode;
use crate::table::TableError;
use crate::table::VtdIrteTable;
use crate::vtd::IecInvalidation;
use crate::vtd::VtdIrte;

/// See the module's text. The cache has room for everything, so that what is not invalidated
/// stays in force for ever.
#[derive(Debug)]
pub(super) struct SimUnit {
    pub(super) table: VtdIrteTable,
    cache: Vec<Option<VtdIrte>>,
    queue: VecDeque<u128>,
    handled: u64,
}

impl SimUnit {
    /// A unit with a table of the largest size.
    pub(super) fn new() -> Result<Self, TableError> {
        const ENTRIES: u32 = 65_536;
        Ok(Self {
            table: VtdIrteTable::new(ENTRIES, CachingMode::PresentOnly)?,
            cache: vec![None; ENTRIES as usize],
            queue: VecDeque::new(),
            handled: 0,
        })
    }

    /// The entry an interrupt goes by. As hardware does, caches none that is not present.
    pub(super) fn look_up(&mut self, index: u16) -> Option<VtdIrte> {
        let cached = &mut self.cache[usize::from(index)];
        if cached.is_none() {
            *cached = self.table.get(index).filter(|entry| entry.is_present());
        }
        *cached
    }

    /// Queues an invalidation. The ticket says when it has been handled.
    pub(super) fn queue(&mut self, invalidation: IecInvalidation) -> u64 {
        self.queue.push_back(invalidation.encode().into_bits());
        self.handled + self.queue.len() as u64
    }

    /// Handles the queue up to this ticket.
    pub(super) fn handle(&mut self, ticket: u64) {
        while self.handled < ticket
            && let Some(descriptor) = self.queue.pop_front()
        {
            self.handled += 1;
            if let Ok(invalidation) = IecInvalidation::decode(descriptor) {
                let (first, last) = invalidation.range();
                self.cache[usize::from(first)..=usize::from(last)].fill(None);
            }
        }
    }

    /// Handles all of the queue, as a caller that waits for it sees.
    pub(super) fn wait(&mut self) {
        self.handle(u64::MAX);
    }

    /// Whether neither table nor cache has a present entry left.
    pub(super) fn stale(&self) -> Option<u16> {
        (0..=u16::MAX).find(|&index| {
            let live = self.table.get(index).is_some_and(VtdIrte::is_present);
            live || self.cache[usize::from(index)].is_some()
        })
    }
}
