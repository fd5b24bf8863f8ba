use proptest::prelude::*;

use crate::dma::DmaFlags;

use super::*;

fn region(address: u64, size: u64) -> DmaRegion {
    DmaRegion {
        address,
        size,
        offset: 0,
        flags: DmaFlags::READ,
    }
}

fn table(regions: &[(u64, u64)]) -> DmaTable {
    let mut table = DmaTable::new(regions.len() + 1);
    for &(address, size) in regions {
        table
            .map(region(address, size), || Ok(()))
            .expect("no overlap");
    }
    table
}

fn unmapped(table: &mut DmaTable, address: u64, size: u64) -> Result<Vec<u64>, Errno> {
    let mut addresses = Vec::new();
    table.unmap(DmaRange::new(address, size)?, |region| {
        addresses.push(region.address);
    })?;
    addresses.sort_unstable();
    Ok(addresses)
}

#[test]
fn map_over_another_is_refused_and_changes_nothing() {
    let mut table = table(&[(0x1000, 0x1000)]);

    for (address, size) in [(0x1000, 0x1000), (0x1fff, 1), (0, 0x1001), (0, 1 << 20)] {
        assert_eq!(
            table.map(region(address, size), || Ok(())),
            Err(Errno::EEXIST)
        );
    }
    assert_eq!(table.len(), 1);
    assert_eq!(table.map(region(0x2000, 1), || Ok(())), Ok(()));
}

#[test]
fn map_beyond_the_limit_or_refused_by_the_owner_is_not_there() {
    let mut table = DmaTable::new(1);

    assert_eq!(
        table.map(region(0, 1), || Err(Errno::ENOMEM)),
        Err(Errno::ENOMEM)
    );
    assert_eq!(table.len(), 0);
    assert_eq!(table.map(region(0, 1), || Ok(())), Ok(()));
    assert_eq!(table.map(region(1, 1), || Ok(())), Err(Errno::ENOSPC));
}

#[test]
fn unmap_takes_what_is_covered_and_nothing_where_nothing_was() {
    let mut table = table(&[(0x1000, 0x1000), (0x3000, 0x1000), (0x9000, 0x1000)]);

    assert_eq!(unmapped(&mut table, 0x5000, 0x1000), Ok(vec![]));
    assert_eq!(unmapped(&mut table, 0, 0x8000), Ok(vec![0x1000, 0x3000]));
    assert_eq!(unmapped(&mut table, 0, 0x8000), Ok(vec![]));
    assert_eq!(unmapped(&mut table, 0x9000, 0x1000), Ok(vec![0x9000]));
}

#[test]
fn unmap_that_would_cut_a_region_is_refused_and_changes_nothing() {
    let mut table = table(&[(0x1000, 0x1000), (0x3000, 0x1000)]);

    for (address, size) in [
        (0x1000, 0x800),
        (0x1800, 0x800),
        (0x1800, 0x10),
        (0x1800, 0x4000),
        (0, 0x3800),
    ] {
        assert_eq!(unmapped(&mut table, address, size), Err(Errno::EINVAL));
    }
    assert_eq!(table.len(), 2);
}

#[test]
fn ranges_at_both_ends_of_the_address_space_are_like_others() {
    let mut table = table(&[(0, 1), (u64::MAX, 1)]);

    assert_eq!(unmapped(&mut table, 1 << 63, 1 << 63), Ok(vec![u64::MAX]));
    assert_eq!(unmapped(&mut table, 0, 1 << 63), Ok(vec![0]));
}

proptest! {
    /// Against a list that is searched from end to end. Addresses are few, so that ranges meet.
    #[test]
    fn table_is_a_list_without_overlaps(
        steps in prop::collection::vec((any::<bool>(), 0u64..40, 1u64..12), 1..60)
    ) {
        let mut table = DmaTable::new(usize::MAX);
        let mut list: Vec<(u64, u64)> = Vec::new();
        for (map, address, size) in steps {
            let end = address + size;
            let meets = |&(a, s): &(u64, u64)| a < end && address < a + s;
            if map {
                let expected = if list.iter().any(meets) {
                    Err(Errno::EEXIST)
                } else {
                    list.push((address, size));
                    Ok(())
                };
                prop_assert_eq!(table.map(region(address, size), || Ok(())), expected);
            } else {
                let cut = |&(a, s): &(u64, u64)| a < address || a + s > end;
                let expected = if list.iter().any(|entry| meets(entry) && cut(entry)) {
                    Err(Errno::EINVAL)
                } else {
                    let mut gone: Vec<u64> =
                        list.iter().filter(|entry| meets(entry)).map(|entry| entry.0).collect();
                    list.retain(|entry| !meets(entry));
                    gone.sort_unstable();
                    Ok(gone)
                };
                prop_assert_eq!(unmapped(&mut table, address, size), expected);
            }
            prop_assert_eq!(table.len(), list.len());
        }
    }
}
