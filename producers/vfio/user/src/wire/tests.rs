use super::*;

/// The bytes of a structure that are not zero.
fn hot<T: IntoBytes + Immutable>(wire: &T) -> Vec<usize> {
    let bytes = wire.as_bytes();
    (0..bytes.len()).filter(|&at| bytes[at] != 0).collect()
}

#[test]
fn structures_have_the_sizes_of_the_specification() {
    assert_eq!(size_of::<HeaderWire>(), 16);
    assert_eq!(size_of::<VersionWire>(), 4);
    assert_eq!(size_of::<DmaMapWire>(), 32);
    assert_eq!(size_of::<DmaUnmapWire>(), 24);
    assert_eq!(size_of::<RegionAccessWire>(), 16);
    assert_eq!(size_of::<SingleWriteWire>(), 24);
}

#[test]
fn header_fields_are_at_their_places() {
    let zero = HeaderWire::default();

    assert_eq!(hot(&HeaderWire { id: !0, ..zero }), [0, 1]);
    assert_eq!(
        hot(&HeaderWire {
            command: !0,
            ..zero
        }),
        [2, 3]
    );
    assert_eq!(hot(&HeaderWire { size: !0, ..zero }), [4, 5, 6, 7]);
    assert_eq!(hot(&HeaderWire { flags: !0, ..zero }), [8, 9, 10, 11]);
    assert_eq!(hot(&HeaderWire { error: !0, ..zero }), [12, 13, 14, 15]);
}

#[test]
fn version_fields_are_at_their_places() {
    let zero = VersionWire::default();

    assert_eq!(hot(&VersionWire { major: !0, ..zero }), [0, 1]);
    assert_eq!(hot(&VersionWire { minor: !0, ..zero }), [2, 3]);
}

#[test]
fn dma_fields_are_at_their_places() {
    let map = DmaMapWire::default();
    let unmap = DmaUnmapWire::default();

    assert_eq!(hot(&DmaMapWire { argsz: !0, ..map }), [0, 1, 2, 3]);
    assert_eq!(hot(&DmaMapWire { flags: !0, ..map }), [4, 5, 6, 7]);
    assert_eq!(
        hot(&DmaMapWire { offset: !0, ..map }),
        (8..16).collect::<Vec<_>>()
    );
    assert_eq!(
        hot(&DmaMapWire { address: !0, ..map }),
        (16..24).collect::<Vec<_>>()
    );
    assert_eq!(
        hot(&DmaMapWire { size: !0, ..map }),
        (24..32).collect::<Vec<_>>()
    );
    assert_eq!(
        hot(&DmaUnmapWire {
            address: !0,
            ..unmap
        }),
        (8..16).collect::<Vec<_>>()
    );
    assert_eq!(
        hot(&DmaUnmapWire { size: !0, ..unmap }),
        (16..24).collect::<Vec<_>>()
    );
}

#[test]
fn region_access_fields_are_at_their_places() {
    let zero = RegionAccessWire::default();
    let write = SingleWriteWire {
        data: [0xff; 8],
        ..SingleWriteWire::default()
    };

    assert_eq!(
        hot(&RegionAccessWire { offset: !0, ..zero }),
        (0..8).collect::<Vec<_>>()
    );
    assert_eq!(
        hot(&RegionAccessWire { region: !0, ..zero }),
        [8, 9, 10, 11]
    );
    assert_eq!(
        hot(&RegionAccessWire { count: !0, ..zero }),
        [12, 13, 14, 15]
    );
    assert_eq!(hot(&write), (16..24).collect::<Vec<_>>());
}
