use super::*;

/// A plane whose every word is another.
fn plane() -> GfxPlaneInfo {
    GfxPlaneInfo {
        plane: PlaneType::CURSOR,
        // XR24.
        format: 0x3432_5258,
        modifier: 0x0100_0000_0000_0002,
        width: 64,
        height: 65,
        stride: 256,
        size: 0x5000,
        x_pos: 100,
        y_pos: 101,
        x_hot: 7,
        y_hot: 8,
        surface: GfxSurface::Dmabuf(DmabufId(42)),
    }
}

/// A request of 64 bytes with these flags.
fn request(flags: u32) -> Vec<u8> {
    let words = [64u32, flags, 1];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    bytes.resize(64, 0);
    bytes
}

#[test]
fn each_field_is_at_its_place() {
    let bytes = plane().encode(64).expect("room for all");

    let word =
        |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    assert_eq!(bytes.len(), 60);
    assert_eq!([word(0), word(4), word(8)], [64, 2, 2]);
    assert_eq!(word(12), 0x3432_5258);
    assert_eq!(bytes[16..24], 0x0100_0000_0000_0002u64.to_ne_bytes());
    assert_eq!(
        [word(24), word(28), word(32), word(36)],
        [64, 65, 256, 0x5000]
    );
    assert_eq!([word(40), word(44), word(48), word(52)], [100, 101, 7, 8]);
    assert_eq!(word(56), 42);
    assert_eq!(GfxPlaneInfo::decode(&bytes), Ok(plane()));
}

#[test]
fn four_combinations_of_flags_are_valid_and_no_others() {
    let query = |transport| GfxRequest::Query {
        transport,
        plane: PlaneType::PRIMARY,
    };

    for flags in 0..64 {
        let expected = match flags {
            0b010 => Ok(query(GfxTransport::Dmabuf)),
            0b100 => Ok(query(GfxTransport::Region)),
            0b011 => Ok(GfxRequest::Probe(GfxTransport::Dmabuf)),
            0b101 => Ok(GfxRequest::Probe(GfxTransport::Region)),
            _ => Err(Errno::EINVAL),
        };
        assert_eq!(
            GfxRequest::decode(&request(flags)),
            expected,
            "flags {flags:#b}"
        );
    }
}

#[test]
fn argsz_of_60_is_enough_and_59_is_not() {
    let mut bytes = request(2);
    bytes[..4].copy_from_slice(&59u32.to_ne_bytes());

    assert_eq!(GfxRequest::decode(&bytes), Err(Errno::EINVAL));
    assert_eq!(GfxRequest::decode(&bytes[..59]), Err(Errno::EFAULT));
    bytes[..4].copy_from_slice(&60u32.to_ne_bytes());
    assert_eq!(GfxRequest::decode(&bytes[..60]).err(), None);
    assert_eq!(plane().encode(59), Err(Errno::EINVAL));
    assert_eq!(plane().encode(60).map(|bytes| bytes.len()), Ok(60));
}

#[test]
fn request_is_read_as_it_was_written() {
    let requests = [
        GfxRequest::Probe(GfxTransport::Region),
        GfxRequest::Query {
            transport: GfxTransport::Dmabuf,
            plane: PlaneType::CURSOR,
        },
    ];

    for request in requests {
        assert_eq!(GfxRequest::decode(&request.encode()), Ok(request));
    }
}

#[test]
fn disabled_plane_is_zeros_behind_its_type() {
    let info = GfxPlaneInfo::disabled(PlaneType::PRIMARY, GfxTransport::Region);

    let bytes = info.encode(64).expect("room for all");

    assert_eq!(
        bytes[4..12],
        [4u32.to_ne_bytes(), 1u32.to_ne_bytes()].concat()
    );
    assert_eq!(bytes[12..], [0; 48]);
    assert!(info.is_disabled());
    assert!(!plane().is_disabled());
}

#[test]
fn hotspot_is_there_if_both_of_its_words_are() {
    let unknown = GfxPlaneInfo {
        y_hot: HOTSPOT_UNKNOWN,
        ..plane()
    };

    assert_eq!(plane().hotspot(), Some((7, 8)));
    assert_eq!(unknown.hotspot(), None);
}

#[test]
fn answer_whose_flags_name_no_surface_is_refused() {
    let mut bytes = plane().encode(64).expect("room for all");
    bytes[4..8].copy_from_slice(&6u32.to_ne_bytes());

    assert_eq!(
        GfxPlaneInfo::decode(&bytes),
        Err(InfoError::GfxFlags { flags: 6 })
    );
}
