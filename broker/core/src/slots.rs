//! The table of links: found by eventfd id without a lock, changed under a lock of their own.
//!
//! ```text
//! eventfd id ──► index word: slot + 1 ──► slot { Mutex { generation, event, body } }
//!                0 = nobody                ▲
//!                            free list ────┘ (a stack of vacated slots)
//! ```
//!
//! A slot's generation goes up each time it is vacated, so an id kept too long is refused. No
//! lock is held while another slot's lock is taken.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::chunked::Chunked;
use crate::ids::EventId;
use crate::ids::LinkId;
use crate::primitive::AtomicU32;
use crate::primitive::AtomicU64;
use crate::primitive::Mutex;
use crate::primitive::MutexGuard;

/// Slots at most.
const SLOT_CHUNKS: usize = MAX_SLOTS as usize / SLOTS_PER_CHUNK;
const SLOTS_PER_CHUNK: usize = if cfg!(loom) { 2 } else { 1024 };
const MAX_SLOTS: u32 = if cfg!(loom) { 4 } else { 4096 * 1024 };

/// Event ids at most: 2^31 in a tree of 1024 x 1024 x 2048 words.
const INDEX_ROOT: usize = if cfg!(loom) { 1 } else { 1024 };
const INDEX_CHUNKS: usize = if cfg!(loom) { 1 } else { 1024 };
const WORDS_PER_CHUNK: usize = if cfg!(loom) { 2 } else { 2048 };

/// End of the free list.
const NONE: u32 = u32::MAX;

/// Release: a thread that pops this slot must see the `next_free` stored before the push.
/// (The weakened build exists to show that the loom models notice.)
const PUSH: Ordering = if cfg!(irqbroker_weakened) {
    Ordering::Relaxed
} else {
    Ordering::Release
};

/// What is at most as many as there are slots or ids ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct SlotTable<B> {
    /// Half a word each: at a million tokens the index is what misses the cache.
    index: Chunked<Chunked<AtomicU32>>,
    slots: Chunked<Slot<B>>,
    /// Top of the free list in bits 31:0, a count of changes in 63:32 against ABA.
    free: AtomicU64,
    /// The lowest slot never used.
    unused: AtomicU32,
}

#[derive(Debug)]
struct Slot<B> {
    cell: Mutex<Cell<B>>,
    /// Next on the free list; means something only while the slot is on it.
    next_free: AtomicU32,
}

#[derive(Debug)]
struct Cell<B> {
    generation: u32,
    /// Whose slot it is, while there is a body. Ids have 31 bits.
    event: u32,
    body: Option<B>,
}

/// A locked slot that is in use.
#[derive(Debug)]
pub(crate) struct Occupied<'a, B> {
    id: LinkId,
    cell: MutexGuard<'a, Cell<B>>,
}

impl<B> Occupied<'_, B> {
    pub(crate) fn id(&self) -> LinkId {
        self.id
    }

    /// The body. It is only ever absent in a vacated slot, which no `Occupied` stands for.
    pub(crate) fn body(&mut self) -> Option<&mut B> {
        self.cell.body.as_mut()
    }
}

impl<B> SlotTable<B> {
    pub(crate) fn new() -> Self {
        Self {
            index: Chunked::new(INDEX_ROOT, 1),
            slots: Chunked::new(SLOT_CHUNKS, SLOTS_PER_CHUNK),
            free: AtomicU64::new(u64::from(NONE)),
            unused: AtomicU32::new(0),
        }
    }

    /// Locks the slot of `event`; where there is none, one is taken for what `make` returns.
    #[inline]
    pub(crate) fn enter(
        &self,
        event: EventId,
        make: impl FnOnce() -> B,
    ) -> Result<Occupied<'_, B>, Full> {
        let event = u32::try_from(event.0).map_err(|_| Full)?;
        let word = self.word(event).ok_or(Full)?;
        loop {
            // Acquire: pairs with the Release below, so that the slot's chunk is seen.
            if let Some(slot) = word.load(Ordering::Acquire).checked_sub(1) {
                let cell = self.cell(slot).ok_or(Full)?;
                if cell.event == event && cell.body.is_some() {
                    let id = LinkId {
                        slot,
                        generation: cell.generation,
                    };
                    return Ok(Occupied { id, cell });
                }
                // Vacated since; its index word was cleared before its lock was released.
                continue;
            }
            let slot = self.allocate()?;
            let mut cell = self.cell(slot).ok_or(Full)?;
            // Release: whoever finds the word sees the slot's chunk. The body is seen through the
            // slot's lock, which is held until after the word is out.
            match word.compare_exchange(0, slot + 1, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    cell.event = event;
                    cell.body = Some(make());
                    return Ok(Occupied {
                        id: LinkId {
                            slot,
                            generation: cell.generation,
                        },
                        cell,
                    });
                }
                Err(_) => {
                    drop(cell);
                    self.free(slot);
                }
            }
        }
    }

    /// Locks the slot that `id` names, unless it has been vacated since.
    #[inline]
    pub(crate) fn lock(&self, id: LinkId) -> Option<Occupied<'_, B>> {
        let cell = self.cell(id.slot)?;
        (cell.generation == id.generation && cell.body.is_some()).then_some(Occupied { id, cell })
    }

    /// Empties the slot and hands out what it held.
    #[inline]
    pub(crate) fn vacate(&self, mut occupied: Occupied<'_, B>) -> Option<B> {
        let body = occupied.cell.body.take();
        occupied.cell.generation = occupied.cell.generation.wrapping_add(1);
        if let Some(word) = self.word(occupied.cell.event) {
            // Relaxed: still under the slot's lock, through which every finder goes.
            word.store(0, Ordering::Relaxed);
        }
        let slot = occupied.id.slot;
        drop(occupied);
        self.free(slot);
        body
    }

    /// The ids of all slots in use, each true at the moment it was looked at.
    pub(crate) fn ids(&self) -> impl Iterator<Item = LinkId> + '_ {
        // Relaxed: a slot taken after this is one the caller came too early for.
        let end = self.unused.load(Ordering::Relaxed);
        (0..end).filter_map(|slot| {
            let cell = self.cell(slot)?;
            cell.body.as_ref().map(|_| LinkId {
                slot,
                generation: cell.generation,
            })
        })
    }

    fn word(&self, event: u32) -> Option<&AtomicU32> {
        let at = event as usize;
        let span = INDEX_CHUNKS * WORDS_PER_CHUNK;
        self.index
            .get_or_grow(at / span, || Chunked::new(INDEX_CHUNKS, WORDS_PER_CHUNK))?
            .get_or_grow(at % span, || AtomicU32::new(0))
    }

    fn cell(&self, slot: u32) -> Option<MutexGuard<'_, Cell<B>>> {
        let slot = self.slots.get(slot as usize)?;
        // A callback that panicked under the lock leaves whole values: nothing here is half set.
        Some(slot.cell.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn allocate(&self) -> Result<u32, Full> {
        // Acquire: pairs with PUSH, so that `next_free` is the one of this push.
        let mut head = self.free.load(Ordering::Acquire);
        while let Some((top, slot)) = self.top(head) {
            // Relaxed: ordered by the Acquire that read `head`.
            let next = slot.next_free.load(Ordering::Relaxed);
            // Acquire on failure as above; on success nothing of ours is to be published.
            match self.free.compare_exchange(
                head,
                stacked(next, head),
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(top),
                Err(newer) => head = newer,
            }
        }
        // Relaxed: the number is all that is passed on; the chunk is made by whoever needs it.
        let slot = self
            .unused
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                (next < MAX_SLOTS).then(|| next + 1)
            })
            .map_err(|_| Full)?;
        self.slots
            .get_or_grow(slot as usize, || Slot {
                cell: Mutex::new(Cell {
                    generation: 1,
                    event: 0,
                    body: None,
                }),
                next_free: AtomicU32::new(NONE),
            })
            .map(|_| slot)
            .ok_or(Full)
    }

    fn free(&self, slot: u32) {
        let Some(freed) = self.slots.get(slot as usize) else {
            return;
        };
        // Relaxed: the top is only put behind us here, not followed.
        let mut head = self.free.load(Ordering::Relaxed);
        loop {
            // Relaxed: published by the push below.
            freed.next_free.store(low(head), Ordering::Relaxed);
            match self
                .free
                .compare_exchange(head, stacked(slot, head), PUSH, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(newer) => head = newer,
            }
        }
    }

    fn top(&self, head: u64) -> Option<(u32, &Slot<B>)> {
        let top = low(head);
        self.slots.get(top as usize).map(|slot| (top, slot))
    }
}

/// The free list's word with `top` on it, one change after `before`.
fn stacked(top: u32, before: u64) -> u64 {
    ((before >> 32).wrapping_add(1)) << 32 | u64::from(top)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half of the word")]
fn low(word: u64) -> u32 {
    word as u32
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;
