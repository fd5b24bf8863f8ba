use super::*;

/// Where the chains of these tests begin; a fixed part of 32 bytes, as a region's.
const BOUNDS: Bounds = Bounds {
    start: 32,
    alignment: 8,
};

/// A structure of zeros with capability headers at some offsets.
fn chain(len: usize, headers: &[(usize, CapHeaderWire)]) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (offset, header) in headers {
        bytes[*offset..offset + 8].copy_from_slice(header.as_bytes());
    }
    bytes
}

/// A header whose id is of no meaning here.
fn next(next: u32) -> CapHeaderWire {
    CapHeaderWire {
        id: 9,
        version: 1,
        next,
    }
}

fn read_error(bytes: &[u8], first: u32) -> Option<InfoError> {
    read(bytes, first, BOUNDS).err()
}

#[test]
fn body_extends_to_the_next_capability_or_the_end() {
    let bytes = chain(64, &[(32, next(48)), (48, next(0))]);

    let lens = read(&bytes, 32, BOUNDS).map(|entries| {
        let bodies = entries.iter().map(|entry| entry.body.len());
        bodies.collect::<Vec<_>>()
    });

    assert_eq!(lens, Ok(vec![8, 8]));
}

#[test]
fn capability_within_the_fixed_part_is_refused() {
    let bytes = chain(64, &[(24, next(0))]);

    let outside = InfoError::Outside {
        offset: 24,
        start: 32,
        end: 64,
    };
    assert_eq!(read_error(&bytes, 24), Some(outside));
}

#[test]
fn header_that_ends_behind_the_buffer_is_refused() {
    // One byte short of a header.
    let bytes = chain(63, &[(32, next(56))]);

    let outside = InfoError::Outside {
        offset: 56,
        start: 32,
        end: 63,
    };
    assert_eq!(read_error(&bytes, 32), Some(outside));
}

#[test]
fn first_capability_behind_the_buffer_is_refused() {
    for offset in [64, u32::MAX - 7] {
        let outside = InfoError::Outside {
            offset,
            start: 32,
            end: 64,
        };
        assert_eq!(read_error(&[0; 64], offset), Some(outside));
    }
}

#[test]
fn next_capability_behind_the_buffer_is_refused() {
    let bytes = chain(64, &[(32, next(4096))]);

    let outside = InfoError::Outside {
        offset: 4096,
        start: 32,
        end: 64,
    };
    assert_eq!(read_error(&bytes, 32), Some(outside));
}

#[test]
fn misaligned_capability_is_refused() {
    let bytes = chain(64, &[(32, next(44))]);

    let misaligned = InfoError::Misaligned {
        offset: 44,
        alignment: 8,
    };
    assert_eq!(read_error(&bytes, 32), Some(misaligned));
}

#[test]
fn capability_that_is_its_own_next_is_refused() {
    let bytes = chain(64, &[(32, next(32))]);

    let backwards = InfoError::Backwards {
        offset: 32,
        next: 32,
    };
    assert_eq!(read_error(&bytes, 32), Some(backwards));
}

#[test]
fn loop_of_two_is_refused() {
    let bytes = chain(64, &[(32, next(48)), (48, next(32))]);

    let backwards = InfoError::Backwards {
        offset: 48,
        next: 32,
    };
    assert_eq!(read_error(&bytes, 32), Some(backwards));
}

#[test]
fn next_within_the_header_is_refused_and_right_behind_it_is_not() {
    let within = chain(64, &[(32, next(36))]);
    let behind = chain(64, &[(32, next(40)), (40, next(0))]);

    let backwards = InfoError::Backwards {
        offset: 32,
        next: 36,
    };
    assert_eq!(read_error(&within, 32), Some(backwards));
    assert_eq!(read_error(&behind, 32), None);
}

#[test]
fn chain_of_the_limit_is_read_and_one_longer_is_refused() {
    let of = |count: u32| {
        let at = |position: u32| 32 + 8 * position;
        let mut headers: Vec<_> = (0..count)
            .map(|position| (at(position) as usize, next(at(position + 1))))
            .collect();
        headers.last_mut().expect("not empty").1.next = 0;
        let bytes = chain(at(count) as usize, &headers);
        read(&bytes, 32, BOUNDS).map(|entries| entries.len())
    };
    let limit = u32::try_from(CAPABILITIES_MAX).expect("small");

    let too_many = InfoError::TooMany {
        limit: CAPABILITIES_MAX,
    };
    assert_eq!(of(limit), Ok(CAPABILITIES_MAX));
    assert_eq!(of(limit + 1), Err(too_many));
}

#[test]
fn more_capabilities_than_are_read_are_not_written() {
    let fit = |count| fit(u32::MAX, 32, &vec![capability(9, Vec::new()); count]).err();

    assert_eq!(fit(CAPABILITIES_MAX), None);
    assert_eq!(fit(CAPABILITIES_MAX + 1), Some(Errno::ENOMEM));
}

#[test]
fn array_longer_than_its_body_is_refused_before_anything_is_allocated() {
    // Room for one element of 16 bytes behind the count of 2^32 - 1.
    let mut body = vec![0; 24];
    body[..4].copy_from_slice(&[0xff; 4]);
    let entry = Entry {
        id: 1,
        version: VERSION,
        body: &body,
    };

    let error = entry.array::<[u64; 2]>().err();

    let truncated = InfoError::Truncated {
        id: 1,
        len: 24,
        needed: 8 + 16 * u64::from(u32::MAX),
    };
    assert_eq!(error, Some(truncated));
}

#[test]
fn each_capability_is_padded_to_8_bytes() {
    let raw = [capability(1, vec![0xff; 1]), capability(2, vec![0xff; 9])];

    let fit = fit(u32::MAX, 24, &raw).expect("a short chain");

    assert_eq!(fit.chain.len(), (8 + 8) + (8 + 16));
    // The second header is 16 bytes behind the first, 40 from the start of the structure.
    assert_eq!(fit.chain[4..8], 40u32.to_ne_bytes());
    assert_eq!(fit.chain[9..16], [0; 7]);
}

#[test]
fn argsz_of_what_is_needed_fits_and_one_less_does_not() {
    let raw = [capability(1, vec![0; 8])];

    let exact = fit(32 + 16, 32, &raw).expect("a short chain");
    let less = fit(32 + 15, 32, &raw).expect("a short chain");

    assert_eq!(
        (exact.argsz, exact.cap_offset, exact.chain.len()),
        (48, 32, 16)
    );
    assert_eq!((less.argsz, less.cap_offset, less.chain.len()), (48, 0, 0));
}
