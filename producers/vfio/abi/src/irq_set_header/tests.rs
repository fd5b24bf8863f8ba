use super::*;

/// An index with four sub-indexes of a device with five indexes.
const LIMITS: IrqLimits = IrqLimits {
    num_irqs: 5,
    count: 4,
};

/// Fires all of them.
fn fire() -> IrqSetHeader {
    IrqSetHeader {
        argsz: 20,
        flags: IrqSetFlags::DATA_NONE | IrqSetFlags::ACTION_TRIGGER,
        index: IrqIndex::MSIX,
        start: 0,
        count: 4,
    }
}

/// The error of a header, if there is one.
fn refused(header: IrqSetHeader) -> Option<Errno> {
    header.validate(LIMITS).err()
}

#[test]
fn each_field_is_at_its_place() {
    let header = IrqSetHeader {
        argsz: 1,
        flags: IrqSetFlags::from_bits_retain(2),
        index: IrqIndex(3),
        start: 4,
        count: 5,
    };

    let bytes = header.encode();

    let words: Vec<u8> = (1u32..=5).flat_map(|word| word.to_ne_bytes()).collect();
    assert_eq!(bytes, *words);
    assert_eq!(IrqSetHeader::decode(&bytes), Ok(header));
    assert_eq!(IrqSetHeader::decode(&bytes[..19]), Err(Errno::EFAULT));
}

#[test]
fn argsz_below_the_header_is_refused() {
    assert_eq!(refused(fire()), None);
    assert_eq!(
        refused(IrqSetHeader {
            argsz: 19,
            ..fire()
        }),
        Some(Errno::EINVAL)
    );
    assert_eq!(
        refused(IrqSetHeader { argsz: 0, ..fire() }),
        Some(Errno::EINVAL)
    );
}

#[test]
fn index_beyond_the_last_is_refused() {
    let at = |index| {
        refused(IrqSetHeader {
            index: IrqIndex(index),
            ..fire()
        })
    };

    assert_eq!(
        [at(4), at(5), at(u32::MAX)],
        [None, Some(Errno::EINVAL), Some(Errno::EINVAL)]
    );
}

#[test]
fn range_must_end_within_the_index() {
    let range = |start, count| {
        refused(IrqSetHeader {
            start,
            count,
            ..fire()
        })
    };

    assert_eq!(range(0, 4), None);
    assert_eq!(range(3, 1), None);
    assert_eq!(range(0, 5), Some(Errno::EINVAL));
    assert_eq!(range(3, 2), Some(Errno::EINVAL));
    assert_eq!(range(4, 0), Some(Errno::EINVAL));
    assert_eq!(range(3, 0), None);
}

#[test]
fn range_that_ends_at_the_last_number_of_32_bits_is_refused() {
    let largest = IrqLimits {
        num_irqs: 5,
        count: u32::MAX,
    };
    let range = |start, count| {
        let header = IrqSetHeader {
            start,
            count,
            ..fire()
        };
        header.validate(largest).err()
    };

    assert_eq!(range(0, u32::MAX - 1), None);
    assert_eq!(range(0, u32::MAX), Some(Errno::EINVAL));
    assert_eq!(range(u32::MAX - 1, 0), None);
    assert_eq!(range(u32::MAX - 1, 1), Some(Errno::EINVAL));
    assert_eq!(range(u32::MAX, 0), Some(Errno::EINVAL));
    assert_eq!(range(u32::MAX, u32::MAX), Some(Errno::EINVAL));
}

#[test]
fn absent_index_refuses_even_no_sub_index() {
    let absent = IrqLimits {
        num_irqs: 5,
        count: 0,
    };
    let header = IrqSetHeader { count: 0, ..fire() };

    assert_eq!(header.validate(absent), Err(Errno::EINVAL));
}

#[test]
fn unknown_flags_are_refused() {
    for bit in 6..32 {
        let flags = fire().flags | IrqSetFlags::from_bits_retain(1 << bit);

        assert_eq!(
            refused(IrqSetHeader { flags, ..fire() }),
            Some(Errno::EINVAL),
            "bit {bit}"
        );
    }
}

#[test]
fn exactly_one_kind_of_payload_is_needed() {
    for bits in 0..8 {
        let flags = IrqSetFlags::ACTION_TRIGGER | IrqSetFlags::from_bits_retain(bits);
        let header = IrqSetHeader {
            argsz: 4096,
            flags,
            ..fire()
        };

        assert_eq!(
            refused(header).is_none(),
            [1, 2, 4].contains(&bits),
            "data bits {bits:#b}"
        );
    }
}

#[test]
fn argsz_must_have_room_for_the_payload() {
    let with = |flags, argsz| {
        let flags = IrqSetFlags::ACTION_TRIGGER | flags;
        refused(IrqSetHeader {
            argsz,
            flags,
            ..fire()
        })
    };

    assert_eq!(with(IrqSetFlags::DATA_BOOL, 24), None);
    assert_eq!(with(IrqSetFlags::DATA_BOOL, 23), Some(Errno::EINVAL));
    assert_eq!(with(IrqSetFlags::DATA_EVENTFD, 36), None);
    assert_eq!(with(IrqSetFlags::DATA_EVENTFD, 35), Some(Errno::EINVAL));
    assert_eq!(with(IrqSetFlags::DATA_EVENTFD, u32::MAX), None);
}

#[test]
fn payload_whose_size_exceeds_32_bits_is_refused() {
    let largest = IrqLimits {
        num_irqs: 5,
        count: u32::MAX,
    };
    let header = IrqSetHeader {
        argsz: u32::MAX,
        flags: IrqSetFlags::DATA_EVENTFD | IrqSetFlags::ACTION_TRIGGER,
        // Four bytes each are 2^32 + 4.
        count: 0x4000_0001,
        ..fire()
    };

    assert_eq!(header.validate(largest), Err(Errno::EINVAL));
}

#[test]
fn anything_but_one_action_is_enotty_after_all_else_is_right() {
    for bits in 0..8 {
        let flags = IrqSetFlags::DATA_NONE | IrqSetFlags::from_bits_retain(bits << 3);
        let valid = IrqSetHeader { flags, ..fire() }
            .validate(LIMITS)
            .expect("right but for the action");

        let expected = match bits {
            1 => Ok(IrqAction::Mask),
            2 => Ok(IrqAction::Unmask),
            4 => Ok(IrqAction::Trigger),
            _ => Err(Errno::ENOTTY),
        };
        assert_eq!(valid.action(), expected, "action bits {bits:#b}");
    }
}

#[test]
fn wrong_range_without_an_action_is_einval() {
    let header = IrqSetHeader {
        flags: IrqSetFlags::DATA_NONE,
        count: 5,
        ..fire()
    };

    assert_eq!(refused(header), Some(Errno::EINVAL));
}

#[test]
fn payload_that_is_cut_off_is_efault() {
    let header = IrqSetHeader {
        argsz: 36,
        flags: IrqSetFlags::DATA_EVENTFD | IrqSetFlags::ACTION_TRIGGER,
        ..fire()
    };
    let mut bytes = header.encode().to_vec();
    for fd in [7, -1, -2, i32::MAX] {
        bytes.extend_from_slice(&fd.to_ne_bytes());
    }
    let valid = header.validate(LIMITS).expect("in range");

    let whole = valid.payload(&bytes);

    assert_eq!(valid.payload(&bytes[..35]), Err(Errno::EFAULT));
    assert_eq!(valid.payload(&bytes[..19]), Err(Errno::EFAULT));
    let Ok(IrqPayload::Eventfds(fds)) = whole else {
        panic!("{whole:?}");
    };
    assert_eq!(fds.iter().collect::<Vec<_>>(), [7, -1, -2, i32::MAX]);
}

#[test]
fn platform_is_checked_against_its_number_of_indexes_in_both_places() {
    let header = IrqSetHeader {
        index: IrqIndex(1),
        start: 2,
        count: 1,
        ..fire()
    };

    let limits = IrqLimits::platform(3);

    assert_eq!(header.validate(limits).err(), None);
    assert_eq!(
        IrqSetHeader { start: 3, ..header }.validate(limits),
        Err(Errno::EINVAL)
    );
}
