use super::*;
use crate::vtd::PiDescAddress;
use crate::vtd::Urgency;
use crate::vtd::VtdPostTarget;
use crate::vtd::VtdRemapped;

fn table() -> VtdIrteTable {
    VtdIrteTable::new(256, CachingMode::PresentOnly).unwrap()
}

/// A present remapped entry for this host vector.
fn remapped(vector: u8) -> VtdIrte {
    VtdRemapped::new().with_p(true).with_vector(vector).into()
}

fn posted(vector: u8) -> VtdIrte {
    remapped(0x50).posting_to(VtdPostTarget {
        descriptor: PiDescAddress::new(0x1_0000_0040).unwrap(),
        vector,
        urgency: Urgency::Normal,
    })
}

fn one(index: u16) -> Option<IecInvalidation> {
    Some(IecInvalidation::Index { index, mask: 0 })
}

#[test]
fn irte_update_is_atomic_exactly_where_either_side_posts() {
    let table = table();
    let block = table.allocate(1).unwrap();
    for (new, write) in [
        (remapped(0x50), IrteWrite::TwoHalves),
        (remapped(0x51), IrteWrite::TwoHalves),
        (posted(0x41), IrteWrite::Atomic),
        (posted(0x42), IrteWrite::Atomic),
        (posted(0x42), IrteWrite::None),
        (remapped(0x51), IrteWrite::Atomic),
    ] {
        assert_eq!(table.update(&block, 0, new).unwrap().write, write);
        assert_eq!(table.get(block.first()), Some(new));
    }
}

#[test]
fn irte_update_invalidates_nothing_where_hardware_caches_nothing() {
    let table = table();
    let block = table.allocate(1).unwrap();
    let invalidate = |new| table.update(&block, 0, new).unwrap().invalidate;
    let software_bits = VtdIrte::from_bits(remapped(0x50).into_bits() | VtdIrte::AVAIL);

    assert_eq!(invalidate(remapped(0x50)), None, "was not present");
    assert_eq!(invalidate(remapped(0x50)), None, "unchanged");
    assert_eq!(invalidate(software_bits), None, "software's bits");
    assert_eq!(invalidate(remapped(0x51)), one(0), "another vector");
    assert_eq!(invalidate(posted(0x41)), one(0), "posted");
    assert_eq!(invalidate(posted(0x41)), None, "unchanged");
    assert_eq!(invalidate(remapped(0x51)), one(0), "restored");
    assert_eq!(invalidate(VtdIrte::default()), one(0), "gone");
}

#[test]
fn caching_mode_asks_for_an_invalidation_of_what_was_not_present() {
    let table = VtdIrteTable::new(2, CachingMode::All).unwrap();
    let block = table.allocate(1).unwrap();
    let update = table.update(&block, 0, remapped(0x50)).unwrap();
    assert_eq!(update.invalidate, one(0));
}

#[test]
fn freed_block_is_cleared_and_invalidated_in_one_go() {
    let table = table();
    let other = table.allocate(1).unwrap();
    let block = table.allocate(5).unwrap();
    for at in [0, 3] {
        let _ = table.update(&block, at, posted(0x41)).unwrap();
    }
    let _ = table.update(&other, 0, posted(0x41)).unwrap();
    let expected = IecInvalidation::Index { index: 8, mask: 3 };
    assert_eq!(table.free(block), Ok(Some(expected)));
    for index in 8..16 {
        assert_eq!(table.get(index), Some(VtdIrte::default()));
    }
    assert_eq!(table.get(other.first()), Some(posted(0x41)));
    let unused = table.allocate(8).unwrap();
    assert_eq!(table.free(unused), Ok(None));
}

#[test]
fn block_of_another_table_changes_nothing() {
    let big = table().allocate(128).unwrap();
    let small = VtdIrteTable::new(2, CachingMode::PresentOnly).unwrap();
    let refused = Err(TableError::Foreign { first: 0 });
    assert_eq!(small.update(&big, 2, posted(0x41)), refused);
    assert_eq!(small.free(big), Err(TableError::Foreign { first: 0 }));
    assert_eq!(small.get(0), Some(VtdIrte::default()));
    assert_eq!(small.get(2), None);
}

#[test]
fn table_of_a_size_that_hardware_has_not_is_refused() {
    for entries in [0, 1, 3, 65_535, 131_072] {
        let refused = VtdIrteTable::new(entries, CachingMode::PresentOnly);
        assert!(matches!(refused, Err(TableError::Size { .. })), "{entries}");
    }
    let largest = VtdIrteTable::new(65_536, CachingMode::PresentOnly).unwrap();
    assert_eq!(largest.get(u16::MAX), Some(VtdIrte::default()));
}

#[test]
fn exchange_from_what_the_entry_does_not_say_changes_nothing() {
    let table = table();
    let block = table.allocate(1).unwrap();
    let _ = table.update(&block, 0, posted(0x41)).unwrap();
    let raced = Err(TableError::Raced { index: 0 });
    let outcome = table.exchange(&block, 0, remapped(0x50), posted(0x42));
    assert_eq!(outcome, raced);
    assert_eq!(table.get(0), Some(posted(0x41)));
    let done = VtdUpdate {
        write: IrteWrite::Atomic,
        invalidate: one(0),
    };
    let outcome = table.exchange(&block, 0, posted(0x41), posted(0x42));
    assert_eq!(outcome, Ok(done));
    assert_eq!(table.get(0), Some(posted(0x42)));
}

/// A reader never sees half of a posted entry.
#[test]
fn entry_that_posts_is_never_seen_torn() {
    let table = table();
    let block = table.allocate(1).unwrap();
    let entries = [posted(0x41), remapped(0x50)];
    let _ = table.update(&block, 0, entries[0]).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            // Enough to meet the writer often, few enough to be quick.
            (0..100_000).all(|_| table.get(0).is_some_and(|entry| entries.contains(&entry)))
        });
        for at in (0..2).cycle() {
            let _ = table.update(&block, 0, entries[at]).unwrap();
            if reader.is_finished() {
                break;
            }
        }
        assert!(reader.join().unwrap());
    });
}
