use super::*;

#[test]
fn each_field_is_at_its_place() {
    let edid = GfxEdid {
        edid_offset: 1,
        edid_max_size: 2,
        edid_size: 3,
        max_xres: 4,
        max_yres: 5,
        link_state: LinkState(6),
    };

    let bytes = edid.encode();

    let words: Vec<u8> = (1u32..=6).flat_map(|word| word.to_ne_bytes()).collect();
    assert_eq!(bytes, *words);
    assert_eq!(GfxEdid::decode(&bytes), Ok(edid));
}

#[test]
fn head_that_is_cut_off_is_refused() {
    let short = InfoError::Short {
        len: 23,
        minimum: 24,
    };
    assert_eq!(GfxEdid::decode(&[0; 23]), Err(short));
}

#[test]
fn word_begins_at_each_multiple_of_4_within_the_head() {
    let fields: Vec<_> = (0..32).filter_map(GfxEdidField::at).collect();

    assert_eq!(fields, GfxEdidField::ALL);
    assert_eq!(GfxEdidField::at(2), None);
    assert_eq!(GfxEdidField::at(u64::MAX - 3), None);
}

#[test]
fn size_and_link_state_alone_are_writable() {
    let writable = GfxEdidField::ALL.map(GfxEdidField::is_writable);

    assert_eq!(writable, [false, false, true, false, false, true]);
}
