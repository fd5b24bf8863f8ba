use super::*;
use crate::flags::PlaneMask;
use crate::irq_capability::DisplayEventKind;

/// An index of which nothing is known.
fn empty() -> IrqInfo {
    IrqInfo {
        index: IrqIndex(0),
        flags: IrqFlags::empty(),
        count: 0,
        capabilities: Vec::new(),
    }
}

/// The events of a head: its vblank, and the flips of its primary and its cursor plane.
fn display() -> IrqInfo {
    let event = |sub_index, kind, planes| DisplayEvent {
        sub_index,
        kind,
        head: 0,
        planes,
    };
    IrqInfo {
        index: IrqIndex(IrqIndex::PCI_NUM),
        flags: IrqFlags::EVENTFD | IrqFlags::MASKABLE,
        count: 3,
        capabilities: vec![
            IrqCapability::Type(IrqType::GFX_DISPLAY),
            IrqCapability::Display(vec![
                event(0, DisplayEventKind::VBLANK, PlaneMask::empty()),
                event(1, DisplayEventKind::FLIP, PlaneMask::PRIMARY),
                event(2, DisplayEventKind::FLIP, PlaneMask::CURSOR),
            ]),
        ],
    }
}

/// The messages of a platform device with four sub-indexes, two of them set up.
fn messages() -> IrqInfo {
    let message = |sub_index, data| MsiDescriptor {
        sub_index,
        // Beyond 4 GiB, where an ITS may be.
        address: 0x8_0801_0040,
        data,
    };
    IrqInfo {
        index: IrqIndex(2),
        flags: IrqFlags::EVENTFD | IrqFlags::NORESIZE,
        count: 4,
        capabilities: vec![
            IrqCapability::Type(IrqType::PLATFORM_MSI),
            IrqCapability::MsiDescriptors(vec![message(1, 0x2001), message(3, 0x2003)]),
        ],
    }
}

/// The bytes that are not zero, `argsz` left out.
fn one_hot(info: &IrqInfo) -> Vec<usize> {
    let bytes = info.encode(4096).expect("room for all");
    (4..bytes.len()).filter(|&at| bytes[at] != 0).collect()
}

#[test]
fn each_field_is_at_its_place() {
    let flags = IrqInfo {
        flags: IrqFlags::from_bits_retain(!IrqFlags::CAPS.bits()),
        ..empty()
    };
    let index = IrqInfo {
        index: IrqIndex(u32::MAX),
        ..empty()
    };
    let count = IrqInfo {
        count: u32::MAX,
        ..empty()
    };

    assert_eq!(one_hot(&flags), [4, 5, 6, 7]);
    assert_eq!(one_hot(&index), [8, 9, 10, 11]);
    assert_eq!(one_hot(&count), [12, 13, 14, 15]);
}

#[test]
fn flags_have_the_bits_of_the_header_and_caps_is_the_next() {
    let flags = IrqFlags::all().iter().map(|flag| flag.bits());

    assert_eq!(flags.collect::<Vec<_>>(), [1, 2, 4, 8, 16]);
}

#[test]
fn index_without_capabilities_is_16_bytes_and_leaves_argsz_alone() {
    let info = IrqInfo {
        count: 1,
        ..empty()
    };

    for argsz in [16, 20, 24, 4096] {
        let bytes = info.encode(argsz).expect("room for all");

        assert_eq!(bytes.len(), 16);
        assert_eq!(bytes[..4], argsz.to_ne_bytes());
        assert_eq!(IrqInfo::decode(&bytes), Ok(info.clone()));
    }
    assert_eq!(info.encode(15), Err(Errno::EINVAL));
}

#[test]
fn caller_that_knows_16_bytes_gets_them_and_no_more() {
    let bytes = display().encode(16).expect("room for the fixed part");

    // 24 fixed, 16 of type, 16 and three times 16 of events.
    let needed: u32 = 24 + 16 + 16 + 3 * 16;
    assert_eq!(bytes.len(), 16);
    assert_eq!(bytes[..4], needed.to_ne_bytes());
    assert_eq!(bytes[4..8], (1u32 | 2 | 16).to_ne_bytes());
    assert_eq!(bytes[12..16], 3u32.to_ne_bytes());
    assert_eq!(
        IrqInfo::decode(&bytes),
        Err(InfoError::BufferTooSmall { needed })
    );
}

#[test]
fn caller_with_room_for_the_offset_alone_reads_0_there() {
    let bytes = display().encode(20).expect("room for the fixed part");

    assert_eq!(bytes.len(), 20);
    assert_eq!(bytes[16..20], [0; 4]);
}

#[test]
fn display_capability_is_laid_out_as_specified() {
    let bytes = display().encode(104).expect("room for all");

    assert_eq!(bytes.len(), 104);
    assert_eq!(bytes[16..24], [24u32.to_ne_bytes(), [0; 4]].concat());
    let header = |at: usize| {
        let id = u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let version = u16::from_ne_bytes([bytes[at + 2], bytes[at + 3]]);
        (id, version, bytes[at + 4])
    };
    assert_eq!(header(24), (3, 1, 40));
    assert_eq!(header(40), (5, 1, 0));
    assert_eq!(bytes[48..52], 3u32.to_ne_bytes());
    // The second event: sub-index 1, a flip, of head 0, of the primary plane.
    let second: Vec<u8> = [1u32, 2, 0, 2]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    assert_eq!(bytes[72..88], second);
    assert_eq!(IrqInfo::decode(&bytes), Ok(display()));
}

#[test]
fn msi_descriptors_are_laid_out_as_specified() {
    let bytes = messages().encode(4096).expect("room for all");

    assert_eq!(bytes.len(), 24 + 16 + 16 + 2 * 16);
    assert_eq!(bytes[40..42], 6u16.to_ne_bytes());
    assert_eq!(bytes[48..52], 2u32.to_ne_bytes());
    assert_eq!(bytes[56..64], 0x8_0801_0040u64.to_ne_bytes());
    assert_eq!(
        bytes[64..72],
        [0x2001u32.to_ne_bytes(), 1u32.to_ne_bytes()].concat()
    );
    assert_eq!(IrqInfo::decode(&bytes), Ok(messages()));
}

#[test]
fn capability_for_a_sub_index_beyond_the_count_is_refused() {
    let bytes = IrqInfo {
        count: 2,
        ..display()
    }
    .encode(4096)
    .expect("room for all");

    let beyond = InfoError::SubIndex {
        id: 5,
        sub_index: 2,
        count: 2,
    };
    assert_eq!(IrqInfo::decode(&bytes), Err(beyond));
}

#[test]
fn capability_for_one_sub_index_twice_is_refused() {
    let mut info = messages();
    if let IrqCapability::MsiDescriptors(messages) = &mut info.capabilities[1] {
        messages[1].sub_index = messages[0].sub_index;
    }

    let twice = InfoError::SubIndex {
        id: 6,
        sub_index: 1,
        count: 4,
    };
    let decoded = IrqInfo::decode(&info.encode(4096).expect("room for all"));
    assert_eq!(decoded, Err(twice));
}

#[test]
fn highest_sub_index_does_not_overflow_the_check() {
    let info = IrqInfo {
        count: u32::MAX,
        capabilities: vec![IrqCapability::MsiDescriptors(vec![
            MsiDescriptor {
                sub_index: u32::MAX - 1,
                address: 0,
                data: 0,
            },
            MsiDescriptor {
                sub_index: u32::MAX,
                address: 0,
                data: 0,
            },
        ])],
        ..empty()
    };

    let beyond = InfoError::SubIndex {
        id: 6,
        sub_index: u32::MAX,
        count: u32::MAX,
    };
    let decoded = IrqInfo::decode(&info.encode(4096).expect("room for all"));
    assert_eq!(decoded, Err(beyond));
}

#[test]
fn ids_of_the_unmerged_series_are_kept_as_they_came() {
    // 2 held two counter increments there, 4 messages in three words each.
    for id in [1, 2, 4] {
        let raw = RawCapability {
            id,
            version: 1,
            bytes: vec![0xff; 16],
        };
        let info = IrqInfo {
            capabilities: vec![IrqCapability::Unknown(raw)],
            ..empty()
        };

        let decoded = IrqInfo::decode(&info.encode(4096).expect("room for all"));

        assert_eq!(decoded, Ok(info));
    }
}

#[test]
fn chain_of_the_unmerged_display_series_is_passed_over() {
    // argsz, flags EVENTFD MASKABLE CAPS, index, count, cap_offset, and at once its capability 2.
    let words = [
        44u32,
        0x13,
        5,
        1,
        20,
        0x0001_0002,
        0,
        0,
        1 << 16,
        0,
        1 << 24,
    ];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();

    let info = IrqInfo::decode(&bytes).expect("as that series writes it");

    assert_eq!((info.count, info.capabilities.len()), (1, 1));
    assert_eq!((info.irq_type(), info.display_events()), (None, None));
}

#[test]
fn capabilities_are_found_by_what_they_say() {
    let (display, messages) = (display(), messages());

    assert_eq!(display.irq_type(), Some(IrqType::GFX_DISPLAY));
    assert_eq!(display.display_events().map(<[_]>::len), Some(3));
    assert_eq!(display.msi_descriptors(), None);
    assert_eq!(messages.irq_type(), Some(IrqType::PLATFORM_MSI));
    assert_eq!(messages.msi_descriptors().map(<[_]>::len), Some(2));
    assert_eq!(empty().irq_type(), None);
}

#[test]
fn request_is_read_as_the_kernel_does() {
    let request = |argsz: u32, len: usize| {
        let words = [argsz, 0, 2];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.resize(len, 0xff);
        IrqInfo::decode_request(&bytes)
    };

    assert_eq!(request(16, 16), Ok((IrqIndex::MSIX, 16)));
    assert_eq!(request(15, 16), Err(Errno::EINVAL));
    assert_eq!(request(16, 15), Err(Errno::EFAULT));
}
