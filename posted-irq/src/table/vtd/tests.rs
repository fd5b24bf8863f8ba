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
fn irte_update_says_what_it_replaced_whoever_wrote_it() {
    let table = table();
    let block = table.allocate(1).unwrap();
    let mut before = VtdIrte::default();
    for new in [
        remapped(0x50),
        remapped(0x51),
        posted(0x41),
        posted(0x42),
        posted(0x42),
        remapped(0x51),
    ] {
        assert_eq!(table.update(&block, 0, new).unwrap().replaced, before);
        assert_eq!(table.get(block.first()), Some(new));
        before = new;
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

/// Of two writers of one entry, each replacement is told to exactly one.
#[test]
fn entry_with_two_writers_loses_no_replacement() {
    // Each writer's own half of the vectors, none of them twice.
    const WRITES: u8 = 120;
    let table = table();
    let block = table.allocate(1).unwrap();
    let writer = |first: u8| {
        let replaced = |at| {
            table
                .update(&block, 0, posted(first + at))
                .unwrap()
                .replaced
        };
        (0..WRITES).map(replaced).collect::<Vec<_>>()
    };
    let mut replaced = std::thread::scope(|scope| {
        let other = scope.spawn(|| writer(WRITES));
        let mut replaced = writer(0);
        replaced.extend(other.join().unwrap());
        replaced
    });
    replaced.extend(table.get(0));

    let mut expected: Vec<_> = (0..2 * WRITES).map(posted).collect();
    expected.push(VtdIrte::default());
    let bits = |irte: &VtdIrte| irte.into_bits();
    replaced.sort_by_key(bits);
    expected.sort_by_key(bits);
    assert_eq!(replaced, expected);
}

/// A reader never sees half of an entry, be it posted or remapped.
#[test]
fn entry_is_never_seen_torn() {
    let table = table();
    let block = table.allocate(1).unwrap();
    let other_source = VtdRemapped::new().with_p(true).with_sid(1);
    let entries = [posted(0x41), remapped(0x50), other_source.into()];
    let _ = table.update(&block, 0, entries[0]).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            // Enough to meet the writer often, few enough to be quick.
            (0..100_000).all(|_| table.get(0).is_some_and(|entry| entries.contains(&entry)))
        });
        for at in (0..entries.len()).cycle() {
            let _ = table.update(&block, 0, entries[at]).unwrap();
            if reader.is_finished() {
                break;
            }
        }
        assert!(reader.join().unwrap());
    });
}
