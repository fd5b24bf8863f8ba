//! Where code, counters and rings lie in the guest's one mebibyte.
//!
//! ```text
//! 0x00000  interrupt vector table, 256 x (offset, segment)
//! 0x01000  idle loop
//! 0x01010  stubs of the 32 exceptions, 8 bytes each
//! 0x08000  top of the stack, grows down
//! 0x10000  32 groups of 8 vectors, 0x6000 bytes each:
//!            +0x0000  handlers, 64 bytes each
//!            +0x1000  run counters, 32 bits, one cache line each
//!            +0x2000  rings, 256 stamps of 8 bytes each
//! ```
//!
//! A handler's code segment starts at its group, so that it reaches its counter and its ring through
//! `cs:` and loads no segment register. Code has its page to itself: a store near running code is
//! slow on real processors.

use crate::GuestVector;

/// Bytes of guest memory, guest-physical addresses from 0.
pub(crate) const MEMORY_BYTES: usize = 0x10_0000;
/// Guest-physical address of the idle loop; its code segment is 0.
pub(crate) const IDLE_LOOP: u16 = 0x1000;
/// First stack pointer; the stack segment is 0.
pub(crate) const STACK_TOP: u16 = 0x8000;
/// Stamps kept per vector: the handler takes the slot from the counter's low byte.
pub(crate) const RING_SLOTS: u64 = 256;
/// Vectors below this have a stub each instead of a handler.
pub(crate) const EXCEPTIONS: u8 = GuestVector::FIRST.get();

const STUBS: u16 = 0x1010;
const STUB_BYTES: u16 = 8;
const GROUPS: u32 = 0x1_0000;
const GROUP_BYTES: u32 = 0x6000;
const GROUP_VECTORS: u8 = 8;
const HANDLER_BYTES: u16 = 64;
const COUNTERS: u16 = 0x1000;
const COUNTER_STRIDE: u16 = 64;
const RINGS: u16 = 0x2000;
const RING_BYTES: u16 = 256 * 8;

/// Where everything of one vector lies: offsets are relative to [`segment`](Self::segment).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VectorPlace {
    /// Real-mode segment, the guest-physical address divided by 16.
    pub(crate) segment: u16,
    /// Offset of the handler's first instruction.
    pub(crate) handler: u16,
    /// Offset of the 32-bit run counter.
    pub(crate) counter: u16,
    /// Offset of the ring's first stamp.
    pub(crate) ring: u16,
}

impl VectorPlace {
    pub(crate) fn of(vector: GuestVector) -> Self {
        let group = u32::from(vector.get() / GROUP_VECTORS);
        let member = u16::from(vector.get() % GROUP_VECTORS);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "all groups lie below 1 MiB, a segment is a 16th of that"
        )]
        let segment = ((GROUPS + group * GROUP_BYTES) / 16) as u16;
        Self {
            segment,
            handler: member * HANDLER_BYTES,
            counter: COUNTERS + member * COUNTER_STRIDE,
            ring: RINGS + member * RING_BYTES,
        }
    }

    /// Guest-physical address of an offset in this vector's segment.
    pub(crate) fn linear(self, offset: u16) -> usize {
        usize::from(self.segment) * 16 + usize::from(offset)
    }

    /// Guest-physical address of the run counter.
    pub(crate) fn counter_address(self) -> usize {
        self.linear(self.counter)
    }

    /// Guest-physical address of the stamp that run number `run` leaves behind.
    pub(crate) fn stamp_address(self, run: u64) -> usize {
        let slot = (run % RING_SLOTS) as u16;
        self.linear(self.ring + slot * 8)
    }
}

/// Offset in segment 0 of the stub for an exception vector.
pub(crate) fn stub(exception: u8) -> u16 {
    STUBS + u16::from(exception) * STUB_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte range the layout hands out, as (start, end).
    fn ranges() -> Vec<(usize, usize)> {
        let mut ranges = vec![(0, 0x400), (usize::from(IDLE_LOOP), usize::from(STUBS))];
        for exception in 0..EXCEPTIONS {
            let start = usize::from(stub(exception));
            ranges.push((start, start + usize::from(STUB_BYTES)));
        }
        for vector in GuestVector::all() {
            let place = VectorPlace::of(vector);
            let handler = place.linear(place.handler);
            ranges.push((handler, handler + usize::from(HANDLER_BYTES)));
            ranges.push((place.counter_address(), place.counter_address() + 64));
            ranges.push((
                place.stamp_address(0),
                place.stamp_address(RING_SLOTS - 1) + 8,
            ));
        }
        ranges.sort_unstable();
        ranges
    }

    #[test]
    fn places_of_all_vectors_do_not_overlap_and_lie_inside_memory() {
        let ranges = ranges();
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        assert!(ranges.iter().all(|range| range.1 <= MEMORY_BYTES));
    }

    #[test]
    fn code_shares_no_page_with_what_handlers_write() {
        for vector in GuestVector::all() {
            let place = VectorPlace::of(vector);
            let code_page = place.linear(place.handler) >> 12;
            assert_ne!(code_page, place.counter_address() >> 12);
            assert_ne!(code_page, place.stamp_address(0) >> 12);
        }
    }

    #[test]
    fn stamp_address_of_run_256_is_that_of_run_0() {
        let place = VectorPlace::of(GuestVector::LAST);
        assert_eq!(place.stamp_address(256), place.stamp_address(0));
        assert_eq!(place.stamp_address(255), place.stamp_address(0) + 255 * 8);
    }
}
