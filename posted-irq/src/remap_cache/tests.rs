use proptest::prelude::*;

use super::*;
use crate::ids::SourceId;
use crate::message::Msi;
use crate::remapper::AmdRemapper;
use crate::remapper::Remapper;
use crate::remapper::VtdRemapper;
use crate::vtd::IecInvalidation;

fn translation(index: u32) -> Translation {
    Translation::Passed(Msi {
        address: 0xfee0_0000,
        data: index,
    })
}

/// One link for each of the first n entries.
fn cache(links: u16) -> RemapCache {
    let mut cache = RemapCache::new();
    for index in 0..links {
        let link = LinkKey(index.into());
        cache.insert(link, CacheKey::vtd(index), translation(index.into()));
    }
    cache
}

fn iec(index: u16, mask: u8) -> Option<(CacheKey, CacheKey)> {
    VtdRemapper::keys(IecInvalidation::Index { index, mask })
}

#[test]
fn iec_of_one_index_touches_its_links_only_however_many_there_are() {
    for links in [16, 4000] {
        let mut cache = cache(links);
        // A second link on the entry, as devices behind a bridge share one.
        cache.insert(LinkKey(9999), CacheKey::vtd(7), translation(7));
        let touched = cache.invalidate(iec(7, 0));
        assert_eq!(touched, [LinkKey(7), LinkKey(9999)]);
        assert_eq!(cache.len(), usize::from(links) - 1);
        assert_eq!(cache.get(LinkKey(8)), Some(&translation(8)));
        assert_eq!(cache.invalidate(iec(7, 0)), []);
    }
}

#[test]
fn iec_with_a_mask_touches_the_block() {
    let mut cache = cache(4000);
    let touched = cache.invalidate(iec(0x123, 4));
    assert_eq!(touched, (0x120..0x130).map(LinkKey).collect::<Vec<_>>());
}

#[test]
fn global_iec_touches_all() {
    let mut cache = cache(16);
    cache.insert(LinkKey(16), CacheKey::NONE, translation(0));
    assert_eq!(cache.invalidate(iec(0, 15)).len(), 16);
    assert_eq!(cache.get(LinkKey(16)), Some(&translation(0)));
    let global = VtdRemapper::keys(IecInvalidation::Global);
    assert_eq!(cache.invalidate(global), [LinkKey(16)]);
    assert!(cache.is_empty());
}

#[test]
fn invalidate_interrupt_table_touches_one_devices_links_only() {
    use crate::amd::AmdInvalidation::InterruptTable;
    let mut cache = RemapCache::new();
    // The devices next to the one that is meant, with their last and first entries.
    for (link, device, index) in [(0, 1, 0x7ff), (1, 2, 0), (2, 2, 0x7ff), (3, 3, 0)] {
        let key = CacheKey::amd(SourceId(device), index);
        cache.insert(LinkKey(link), key, translation(0));
    }
    let touched = cache.invalidate(AmdRemapper::keys(InterruptTable(SourceId(2))));
    assert_eq!(touched, [LinkKey(1), LinkKey(2)]);
    assert_eq!(cache.len(), 2);
}

#[test]
fn link_that_moves_to_another_entry_leaves_the_one_before() {
    let mut cache = cache(4);
    cache.insert(LinkKey(1), CacheKey::vtd(100), translation(100));
    assert_eq!(cache.invalidate(iec(1, 0)), []);
    assert_eq!(cache.get(LinkKey(1)), Some(&translation(100)));
    assert_eq!(cache.remove(LinkKey(1)), Some(translation(100)));
    assert_eq!(cache.remove(LinkKey(1)), None);
    assert_eq!(cache.invalidate(iec(100, 0)), []);
}

proptest! {
    /// Against the plain way: look at every link.
    #[test]
    fn invalidation_agrees_with_looking_at_every_link(
        links in prop::collection::vec((0..64_u32, 0..256_u16), 0..100),
        index: u16,
        mask in 0..10_u8,
    ) {
        let mut cache = RemapCache::new();
        let mut plain = HashMap::new();
        for (link, index) in links {
            cache.insert(LinkKey(link), CacheKey::vtd(index), translation(0));
            plain.insert(LinkKey(link), index);
        }
        let index = index % 256;
        let mut touched = cache.invalidate(iec(index, mask));
        touched.sort_unstable();
        let mut expected: Vec<_> = plain
            .iter()
            .filter(|(_, own)| **own >> mask == index >> mask)
            .map(|(link, _)| *link)
            .collect();
        expected.sort_unstable();
        prop_assert_eq!(&touched, &expected);
        prop_assert_eq!(cache.len(), plain.len() - expected.len());
    }
}
