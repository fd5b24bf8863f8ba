use super::*;

/// What nothing is known of.
fn empty() -> DeviceInfo {
    DeviceInfo {
        flags: DeviceFlags::empty(),
        num_regions: 0,
        num_irqs: 0,
        capabilities: Vec::new(),
    }
}

/// A capability of 8 bytes with an id that no kernel uses.
fn capability() -> RawCapability {
    RawCapability {
        id: 0x7fff,
        version: 3,
        bytes: vec![0x5a; 8],
    }
}

/// The bytes that are not zero, `argsz` left out.
fn one_hot(info: &DeviceInfo) -> Vec<usize> {
    let bytes = info.encode(24).expect("room for all");
    (4..bytes.len()).filter(|&at| bytes[at] != 0).collect()
}

#[test]
fn each_field_is_at_its_place() {
    let flags = DeviceInfo {
        flags: DeviceFlags::from_bits_retain(!DeviceFlags::CAPS.bits()),
        ..empty()
    };
    let num_regions = DeviceInfo {
        num_regions: u32::MAX,
        ..empty()
    };
    let num_irqs = DeviceInfo {
        num_irqs: u32::MAX,
        ..empty()
    };

    assert_eq!(one_hot(&flags), [4, 5, 6, 7]);
    assert_eq!(one_hot(&num_regions), [8, 9, 10, 11]);
    assert_eq!(one_hot(&num_irqs), [12, 13, 14, 15]);
    assert_eq!(
        empty().encode(24).map(|bytes| bytes[..4].to_vec()),
        Ok(24u32.to_ne_bytes().into())
    );
}

#[test]
fn flags_have_the_bits_of_the_header() {
    let flags = DeviceFlags::all().iter().map(|flag| flag.bits());

    assert_eq!(
        flags.collect::<Vec<_>>(),
        (0..9).map(|bit| 1 << bit).collect::<Vec<_>>()
    );
}

#[test]
fn answer_is_never_longer_than_argsz_and_16_bytes_are_enough() {
    let lens = [15, 16, 20, 24, 4096].map(|argsz| empty().encode(argsz).map(|bytes| bytes.len()));

    assert_eq!(lens, [Err(Errno::EINVAL), Ok(16), Ok(20), Ok(24), Ok(24)]);
}

#[test]
fn capabilities_that_do_not_fit_are_told_by_argsz() {
    let info = DeviceInfo {
        capabilities: vec![capability()],
        ..empty()
    };

    // A kernel-6.1 caller's structure, which has no room for a chain.
    let small = info.encode(20).expect("room for the fixed part");
    let whole = info.encode(40).expect("room for all");

    assert_eq!(
        small[..8],
        [40u32.to_ne_bytes(), (1u32 << 7).to_ne_bytes()].concat()
    );
    assert_eq!(small[16..20], [0; 4]);
    assert_eq!(
        DeviceInfo::decode(&small),
        Err(InfoError::BufferTooSmall { needed: 40 })
    );
    assert_eq!(whole[16..20], 24u32.to_ne_bytes());
    assert_eq!(DeviceInfo::decode(&whole), Ok(info));
}

#[test]
fn chain_of_an_old_kernel_begins_behind_20_bytes() {
    // argsz, flags CAPS, regions, irqs, cap_offset, then one capability of 8 bytes at 20.
    let words = [36u32, 1 << 7, 9, 5, 20, 0x0001_0001, 0, 7, 8];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();

    let info = DeviceInfo::decode(&bytes).expect("as Linux 6.1 writes it");

    assert_eq!(info.capabilities.len(), 1);
    assert_eq!(info.capabilities[0].bytes.len(), 8);
}

#[test]
fn structure_that_is_cut_off_is_refused() {
    let bytes = empty().encode(16).expect("room for the fixed part");

    let short = InfoError::Short {
        len: 15,
        minimum: 16,
    };
    assert_eq!(DeviceInfo::decode(&bytes[..15]), Err(short));
}

#[test]
fn bytes_behind_argsz_are_not_looked_at() {
    let mut bytes = empty().encode(16).expect("room for the fixed part");
    bytes[4..8].copy_from_slice(&DeviceFlags::CAPS.bits().to_ne_bytes());
    // What would be an offset far behind the buffer, if argsz reached so far.
    bytes.extend([0xff; 8]);

    assert_eq!(DeviceInfo::decode(&bytes), Ok(empty()));
}

#[test]
fn offset_of_which_only_a_part_was_written_is_none() {
    let info = DeviceInfo {
        capabilities: vec![capability()],
        ..empty()
    };
    let mut bytes = info.encode(40).expect("room for all");
    bytes[..4].copy_from_slice(&18u32.to_ne_bytes());

    let decoded = DeviceInfo::decode(&bytes);

    assert_eq!(decoded, Ok(empty()));
}

#[test]
fn request_is_read_as_the_kernel_does() {
    let request = |argsz: u32, len: usize| {
        let mut bytes = argsz.to_ne_bytes().to_vec();
        bytes.resize(len, 0xff);
        DeviceInfo::decode_request(&bytes)
    };

    assert_eq!(request(16, 16), Ok(16));
    assert_eq!(request(15, 16), Err(Errno::EINVAL));
    assert_eq!(request(16, 15), Err(Errno::EFAULT));
}
