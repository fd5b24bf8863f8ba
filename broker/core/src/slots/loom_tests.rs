//! Models of the slot table's own code under every interleaving loom can make of it.
//!
//! Loom treats `SeqCst` as `AcqRel` and does not reorder loads before earlier loads of other
//! locations freely: a pass is evidence, not a proof.

use loom::sync::Arc;
use loom::thread;

use super::*;

/// Preemptions explored; three suffice to interleave two stack operations with a third.
const PREEMPTION_BOUND: usize = 3;

fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTION_BOUND);
    builder.check(body);
}

/// A table whose first chunks are there: they grow behind `OnceLock`, which loom does not see.
fn table() -> Arc<SlotTable<u32>> {
    let table = SlotTable::new();
    let occupied = table.enter(EventId(0), || 0).unwrap();
    table.vacate(occupied);
    Arc::new(table)
}

#[test]
fn free_list_never_loses_or_doubles_a_slot() {
    model(|| {
        let table = table();
        let (a, b) = (table.allocate().unwrap(), table.allocate().unwrap());
        table.free(a);
        table.free(b);
        let other = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                let one = table.allocate().unwrap();
                let two = table.allocate().unwrap();
                table.free(one);
                table.free(two);
            })
        };
        let mine = table.allocate().unwrap();
        table.free(mine);
        other.join().unwrap();

        // Whatever slots were made are on the list once each.
        let made = table.unused.load(Ordering::Relaxed);
        let mut seen: Vec<u32> = Vec::new();
        let mut head = table.free.load(Ordering::Acquire);
        while let Some((top, slot)) = table.top(head) {
            assert!(!seen.contains(&top), "slot {top} is on the free list twice");
            seen.push(top);
            head = u64::from(slot.next_free.load(Ordering::Relaxed));
        }
        assert_eq!(
            seen.len(),
            made as usize,
            "free list {seen:?} of {made} slots"
        );
    });
}

/// Two sides that meet: each enters, and the second one to come must find the first.
#[test]
fn two_sides_of_one_event_always_meet_in_one_slot() {
    model(|| {
        let table = table();
        let side = |table: &SlotTable<u32>| {
            let mut occupied = table.enter(EventId(0), || 0).unwrap();
            let sides = occupied.body().unwrap();
            *sides += 1;
            *sides
        };
        let other = {
            let table = Arc::clone(&table);
            thread::spawn(move || side(&table))
        };
        let mine = side(&table);
        let theirs = other.join().unwrap();
        assert_eq!(mine + theirs, 3, "one came first, one second");
    });
}

/// One side leaves while another comes: the comer is either in the old slot, which then is not
/// vacated under it, or in a new one.
#[test]
fn entering_while_the_slot_is_vacated_never_lands_in_a_vacated_slot() {
    model(|| {
        let table = table();
        let first = table.enter(EventId(0), || 1).unwrap().id();
        let other = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                let mut occupied = table.enter(EventId(0), || 10).unwrap();
                *occupied.body().unwrap() += 1;
                occupied.id()
            })
        };
        let mut occupied = table.lock(first).unwrap();
        let met = *occupied.body().unwrap() == 2;
        if !met {
            table.vacate(occupied);
        } else {
            drop(occupied);
        }
        let theirs = other.join().unwrap();
        assert_eq!(theirs == first, met);
        assert_eq!(
            *table.lock(theirs).unwrap().body().unwrap(),
            if met { 2 } else { 11 }
        );
    });
}
