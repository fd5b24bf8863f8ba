//! What the guest's handlers counted and stamped, read from shared memory.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::GuestVector;
use crate::TscOffset;
use crate::layout::RING_SLOTS;
use crate::layout::VectorPlace;
use crate::memory_fd::GuestMemory;

/// Stamps of a ring that can be read for certain: the handler may be overwriting the oldest.
const READABLE_STAMPS: u64 = RING_SLOTS - 1;

/// A view of the guest's counters and stamps; clones show the same guest.
///
/// Reading makes no system call and does not disturb the guest. The view stays readable after the
/// guest has stopped.
#[derive(Debug, Clone)]
pub struct Counters {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    memory: Arc<GuestMemory>,
    offset: TscOffset,
    /// Runs seen per vector: the guest counts in 32 bits, this is the last value in 64.
    seen: [AtomicU64; 256],
}

impl Counters {
    pub(crate) fn new(memory: Arc<GuestMemory>, offset: TscOffset) -> Self {
        Self {
            shared: Arc::new(Shared {
                memory,
                offset,
                seen: [const { AtomicU64::new(0) }; 256],
            }),
        }
    }

    /// How often the vector's handler has run since the guest was built.
    ///
    /// The guest counts in 32 bits; the value is right as long as it is read once per 2^32 runs.
    #[must_use]
    pub fn delivered(&self, vector: GuestVector) -> u64 {
        let seen = &self.shared.seen[usize::from(vector.get())];
        // Acquire, and before the guest's counter: a counter read later is never behind `last`.
        let last = seen.load(Ordering::Acquire);
        let address = VectorPlace::of(vector).counter_address();
        // Acquire: whoever sees run n counted also sees its stamp, which the guest stored before.
        let counted = self.shared.memory.word(address).load(Ordering::Acquire);
        let now = widen(last, counted);
        // Release pairs with the load above; a plain store could take a racing reader's value back.
        seen.fetch_max(now, Ordering::Release);
        now
    }

    /// Runs of all handlers together; vectors are read one after the other.
    #[must_use]
    pub fn delivered_total(&self) -> u64 {
        GuestVector::all()
            .map(|vector| self.delivered(vector))
            .sum()
    }

    /// A reader of the vector's stamps that starts at the next run.
    #[must_use]
    pub fn stamps(&self, vector: GuestVector) -> StampReader {
        StampReader {
            counters: self.clone(),
            vector,
            next: self.delivered(vector),
        }
    }

    fn stamp(&self, place: VectorPlace, run: u64) -> u64 {
        let slot = self.shared.memory.double_word(place.stamp_address(run));
        // Acquire: keeps the check for an overrun, a later load, from being done first.
        self.shared.offset.to_host(slot.load(Ordering::Acquire))
    }
}

/// The 64-bit count that ends in `counted` and is the first at or after `last`.
fn widen(last: u64, counted: u32) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is what the guest counts"
    )]
    let ahead = counted.wrapping_sub(last as u32);
    last + u64::from(ahead)
}

/// Reads each stamp of one vector once, in order of the runs.
#[derive(Debug, Clone)]
pub struct StampReader {
    counters: Counters,
    vector: GuestVector,
    /// Number of the first run not read yet.
    next: u64,
}

impl StampReader {
    /// Appends the stamps of all runs since the last call, as values of the host's TSC.
    ///
    /// Returns how many stamps were overwritten before they were read, oldest first; the ring keeps
    /// 255. A caller that drains less often than that sees a number above 0, never a wrong stamp.
    pub fn drain(&mut self, stamps: &mut Vec<u64>) -> u64 {
        let place = VectorPlace::of(self.vector);
        let first = stamps.len();
        let end = self.counters.delivered(self.vector);
        let oldest = end.saturating_sub(READABLE_STAMPS).max(self.next);
        stamps.extend((oldest..end).map(|run| self.counters.stamp(place, run)));
        // The guest went on meanwhile: what it may have overwritten is dropped again.
        let now = self.counters.delivered(self.vector);
        let intact = now.saturating_sub(READABLE_STAMPS).clamp(oldest, end);
        let torn = usize::try_from(intact - oldest).unwrap_or(usize::MAX);
        stamps.drain(first..(first + torn).min(stamps.len()));
        let overrun = intact - self.next;
        self.next = end;
        overrun
    }

    /// The vector whose stamps are read.
    #[must_use]
    pub fn vector(&self) -> GuestVector {
        self.vector
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    use super::*;
    use crate::layout::MEMORY_BYTES;

    const VECTOR: GuestVector = GuestVector::FIRST;

    fn counters() -> Counters {
        let memory = GuestMemory::new(MEMORY_BYTES).unwrap();
        Counters::new(Arc::new(memory), TscOffset::Zero)
    }

    /// Does what the guest's handler does; run number n leaves the stamp 1000 + n.
    fn run_handler(counters: &Counters, times: u64) {
        let place = VectorPlace::of(VECTOR);
        let memory = &counters.shared.memory;
        for _ in 0..times {
            let run = u64::from(memory.word(place.counter_address()).load(Ordering::Relaxed));
            memory
                .double_word(place.stamp_address(run))
                .store(1000 + run, Ordering::Relaxed);
            memory
                .word(place.counter_address())
                .fetch_add(1, Ordering::Release);
        }
    }

    #[test]
    fn drain_returns_each_stamp_once_in_order() {
        let counters = counters();
        let mut reader = counters.stamps(VECTOR);
        let mut stamps = Vec::new();
        run_handler(&counters, 3);
        assert_eq!(reader.drain(&mut stamps), 0);
        run_handler(&counters, 1);
        assert_eq!(reader.drain(&mut stamps), 0);
        assert_eq!(reader.drain(&mut stamps), 0);
        assert_eq!(stamps, [1000, 1001, 1002, 1003]);
    }

    #[test]
    fn reader_made_later_starts_at_the_next_run() {
        let counters = counters();
        run_handler(&counters, 300);
        let mut stamps = Vec::new();
        let mut reader = counters.stamps(VECTOR);
        run_handler(&counters, 1);
        assert_eq!(reader.drain(&mut stamps), 0);
        assert_eq!(stamps, [1300]);
    }

    #[test]
    fn counter_of_another_vector_stays_zero() {
        let counters = counters();
        run_handler(&counters, 2);
        assert_eq!(counters.delivered(VECTOR), 2);
        assert_eq!(counters.delivered(GuestVector::LAST), 0);
        assert_eq!(counters.delivered_total(), 2);
    }

    proptest! {
        #[test]
        fn drain_reports_exactly_the_stamps_it_does_not_return(bursts in vec(0u64..600, 1..8)) {
            let counters = counters();
            let mut reader = counters.stamps(VECTOR);
            let mut run = 0;
            for burst in bursts {
                run_handler(&counters, burst);
                run += burst;
                let mut stamps = Vec::new();
                let overrun = reader.drain(&mut stamps);
                prop_assert_eq!(overrun, burst.saturating_sub(READABLE_STAMPS));
                let expected: Vec<u64> =
                    (run - burst + overrun..run).map(|run| 1000 + run).collect();
                prop_assert_eq!(stamps, expected);
            }
        }

        #[test]
        fn widen_follows_a_counter_that_wraps(last in 0u64..u64::MAX / 2, ahead in any::<u32>()) {
            let now = last + u64::from(ahead);
            #[expect(clippy::cast_possible_truncation, reason = "what the guest would hold")]
            let counted = now as u32;
            prop_assert_eq!(widen(last, counted), now);
        }
    }
}
