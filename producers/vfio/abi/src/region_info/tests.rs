use super::*;

/// A region of which nothing is known.
fn empty() -> RegionInfo {
    RegionInfo {
        index: RegionIndex(0),
        flags: RegionFlags::empty(),
        size: 0,
        offset: 0,
        capabilities: Vec::new(),
    }
}

/// A region with one of each capability.
fn whole() -> RegionInfo {
    let areas = [(0, 0x1000), (0x3000, 0x5000)];
    RegionInfo {
        index: RegionIndex::BAR2,
        flags: RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP,
        size: 0x8000,
        offset: 2 << 40,
        capabilities: vec![
            RegionCapability::SparseMmap(
                areas
                    .map(|(offset, size)| SparseArea { offset, size })
                    .to_vec(),
            ),
            RegionCapability::Type(RegionType::GFX_EDID),
            RegionCapability::MsixMappable,
            RegionCapability::Unknown(RawCapability {
                id: 0x7fff,
                version: 1,
                bytes: vec![1, 2, 3, 4, 5, 6, 7, 8],
            }),
        ],
    }
}

/// The bytes that are not zero, `argsz` left out.
fn one_hot(info: &RegionInfo) -> Vec<usize> {
    let bytes = info.encode(32).expect("room for all");
    (4..bytes.len()).filter(|&at| bytes[at] != 0).collect()
}

#[test]
fn each_field_is_at_its_place() {
    let flags = RegionInfo {
        flags: RegionFlags::from_bits_retain(!RegionFlags::CAPS.bits()),
        ..empty()
    };
    let index = RegionInfo {
        index: RegionIndex(u32::MAX),
        ..empty()
    };
    let size = RegionInfo {
        size: u64::MAX,
        ..empty()
    };
    let offset = RegionInfo {
        offset: u64::MAX,
        ..empty()
    };

    assert_eq!(one_hot(&flags), [4, 5, 6, 7]);
    assert_eq!(one_hot(&index), [8, 9, 10, 11]);
    assert_eq!(one_hot(&size), (16..24).collect::<Vec<_>>());
    assert_eq!(one_hot(&offset), (24..32).collect::<Vec<_>>());
}

#[test]
fn flags_have_the_bits_of_the_header() {
    let flags = RegionFlags::all().iter().map(|flag| flag.bits());

    assert_eq!(flags.collect::<Vec<_>>(), [1, 2, 4, 8]);
}

#[test]
fn bar_with_an_msix_table_is_as_a_real_kernel_answers() {
    // Flags 0xf, argsz 40, one capability with id 3: a BAR that holds an MSI-X table.
    let info = RegionInfo {
        capabilities: vec![RegionCapability::MsixMappable],
        ..whole()
    };

    let small = info.encode(32).expect("room for the fixed part");
    let bytes = info.encode(40).expect("room for all");

    assert_eq!(small.len(), 32);
    assert_eq!(
        small[..8],
        [40u32.to_ne_bytes(), 0xfu32.to_ne_bytes()].concat()
    );
    assert_eq!(small[12..16], [0; 4]);
    assert_eq!(bytes.len(), 40);
    assert_eq!(bytes[12..16], 32u32.to_ne_bytes());
    assert_eq!(bytes[32..34], 3u16.to_ne_bytes());
    assert_eq!(bytes[34..36], 1u16.to_ne_bytes());
    assert_eq!(bytes[36..40], [0; 4]);
}

#[test]
fn sparse_areas_and_types_are_at_their_places() {
    let bytes = whole().encode(4096).expect("room for all");

    // Header at 32, then the number of areas, a reserved word, and the areas.
    assert_eq!(bytes[40..44], 2u32.to_ne_bytes());
    assert_eq!(bytes[44..48], [0; 4]);
    assert_eq!(bytes[64..72], 0x3000u64.to_ne_bytes());
    assert_eq!(bytes[72..80], 0x5000u64.to_ne_bytes());
    // The first capability's next, the second's id, its type and subtype.
    assert_eq!(bytes[36..40], 80u32.to_ne_bytes());
    assert_eq!(bytes[80..82], 2u16.to_ne_bytes());
    assert_eq!(
        bytes[88..96],
        [1u32.to_ne_bytes(), 1u32.to_ne_bytes()].concat()
    );
    assert_eq!(bytes[..4], 4096u32.to_ne_bytes());
}

#[test]
fn every_argsz_below_what_is_needed_is_answered_with_it() {
    let info = whole();
    let needed = u32::try_from(info.encode(4096).expect("room for all").len()).expect("small");

    for argsz in 32..needed {
        let answer = info.encode(argsz).expect("room for the fixed part");

        assert_eq!(answer.len(), 32);
        assert_eq!(
            RegionInfo::decode(&answer),
            Err(InfoError::BufferTooSmall { needed })
        );
    }
    let answer = info.encode(needed).expect("room for all");
    assert_eq!(RegionInfo::decode(&answer), Ok(info));
}

#[test]
fn argsz_beyond_all_measure_is_not_believed_and_not_sent() {
    let mut answer = whole().encode(32).expect("room for the fixed part");
    answer[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
    let area = SparseArea { offset: 0, size: 0 };
    // 32 of structure, 16 of header and number, 16 each.
    let sparse = |areas| RegionInfo {
        capabilities: vec![RegionCapability::SparseMmap(vec![area; areas])],
        ..empty()
    };

    let too_large = InfoError::TooLarge {
        needed: u32::MAX,
        limit: 0x1_0000,
    };
    assert_eq!(RegionInfo::decode(&answer), Err(too_large));
    assert_eq!(sparse(4093).encode(32).map(|bytes| bytes.len()), Ok(32));
    assert_eq!(sparse(4094).encode(32), Err(Errno::ENOMEM));
}

#[test]
fn argsz_below_32_is_refused() {
    assert_eq!(empty().encode(31), Err(Errno::EINVAL));
    assert_eq!(empty().encode(32).map(|bytes| bytes.len()), Ok(32));
}

#[test]
fn capability_of_another_version_is_kept_as_it_came() {
    let mut bytes = RegionInfo {
        capabilities: vec![RegionCapability::Type(RegionType::GFX_EDID)],
        ..empty()
    }
    .encode(48)
    .expect("room for all");
    bytes[34..36].copy_from_slice(&2u16.to_ne_bytes());

    let info = RegionInfo::decode(&bytes).expect("a version of later");

    let kept = RawCapability {
        id: 2,
        version: 2,
        bytes: [1u32.to_ne_bytes(), 1u32.to_ne_bytes()].concat(),
    };
    assert_eq!(info.capabilities, [RegionCapability::Unknown(kept)]);
}

#[test]
fn type_that_is_cut_off_is_refused() {
    let bytes = RegionInfo {
        capabilities: vec![RegionCapability::Type(RegionType::GFX_EDID)],
        ..empty()
    }
    .encode(48)
    .expect("room for all");

    let truncated = InfoError::Truncated {
        id: 2,
        len: 7,
        needed: 8,
    };
    assert_eq!(RegionInfo::decode(&bytes[..47]), Err(truncated));
}

#[test]
fn capabilities_are_found_by_what_they_say() {
    assert_eq!(whole().region_type(), Some(RegionType::GFX_EDID));
    assert_eq!(whole().sparse_areas().map(<[_]>::len), Some(2));
    assert_eq!(
        (empty().region_type(), empty().sparse_areas()),
        (None, None)
    );
}

#[test]
fn vendor_types_carry_the_vendor() {
    assert_eq!(RegionType::INTEL_OPREGION.type_, 0x8000_8086);
    assert_eq!(RegionType::INTEL_LPC_CONFIG.vendor(), Some(0x8086));
    assert_eq!(RegionType::GFX_EDID.vendor(), None);
}

#[test]
fn request_is_read_as_the_kernel_does() {
    let request = |argsz: u32, len: usize| {
        let words = [argsz, 0, 7];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.resize(len, 0xff);
        RegionInfo::decode_request(&bytes)
    };

    assert_eq!(request(32, 32), Ok((RegionIndex::CONFIG, 32)));
    assert_eq!(request(31, 32), Err(Errno::EINVAL));
    assert_eq!(request(32, 31), Err(Errno::EFAULT));
}
