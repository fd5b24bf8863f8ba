use super::*;

fn enter(table: &SlotTable<u32>, event: u64, value: u32) -> (LinkId, u32) {
    let mut occupied = table.enter(EventId(event), || value).unwrap();
    (occupied.id(), *occupied.body().unwrap())
}

fn vacate(table: &SlotTable<u32>, event: u64) -> Option<u32> {
    let occupied = table.enter(EventId(event), || 0).unwrap();
    table.vacate(occupied)
}

#[test]
fn enter_of_a_known_event_finds_its_slot() {
    let table = SlotTable::new();
    let first = enter(&table, 7, 1);
    assert_eq!(enter(&table, 7, 2), first);
    assert_ne!(enter(&table, 8, 3).0, first.0);
}

#[test]
fn vacated_slot_is_reused_under_another_generation() {
    let table = SlotTable::new();
    let (old, _) = enter(&table, 7, 1);
    assert_eq!(vacate(&table, 7), Some(1));
    let (new, value) = enter(&table, 9, 2);
    assert_eq!((new.slot, value), (old.slot, 2));
    assert!(table.lock(old).is_none());
    assert!(table.lock(new).is_some());
}

#[test]
fn ids_lists_the_slots_in_use() {
    let table = SlotTable::new();
    let kept: Vec<LinkId> = [3, 5].map(|event| enter(&table, event, 0).0).into();
    enter(&table, 4, 0);
    vacate(&table, 4);
    assert_eq!(table.ids().collect::<Vec<_>>(), kept);
}

#[test]
fn event_id_out_of_the_kernels_range_is_refused() {
    let table = SlotTable::<u32>::new();
    table.enter(EventId(1 << 31), || 0).unwrap_err();
    table.enter(EventId((1 << 31) - 1), || 0).unwrap();
    // One whose low half is an id that could be.
    table.enter(EventId(1 << 32), || 0).unwrap_err();
    table.enter(EventId(u64::MAX), || 0).unwrap_err();
}

#[test]
fn slot_memory_leaves_room_for_a_kibibyte_per_link() {
    // Most of a link's kibibyte is left to the two sides and their names, and a slot is three cache
    // lines at most: with many links it is memory that an operation waits for.
    let slot = size_of::<Slot<crate::link::Link>>();
    assert!(slot <= 3 * 64, "{slot} bytes");
}
