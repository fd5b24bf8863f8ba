use super::*;

/// A field of all ones of this width.
const fn ones(width: u32) -> u128 {
    (1 << width) - 1
}

#[test]
fn amd_legacy_fields_one_hot_are_where_the_spec_puts_them() {
    let zero = AmdLegacy::new();
    assert_eq!(zero.with_remap_en(true).into_bits(), 1);
    assert_eq!(zero.with_sup_iopf(true).into_bits(), 1 << 1);
    assert_eq!(zero.with_int_type(7).into_bits(), 7 << 2);
    assert_eq!(zero.with_rq_eoi(true).into_bits(), 1 << 5);
    assert_eq!(zero.with_dm(true).into_bits(), 1 << 6);
    assert_eq!(zero.with_guest_mode(true).into_bits(), 1 << 7);
    assert_eq!(zero.with_destination(0xff).into_bits(), 0xff << 8);
    assert_eq!(zero.with_vector(0xff).into_bits(), 0xff << 16);
    assert_eq!(zero.with_reserved_31_24(0xff).into_bits(), 0xff << 24);
}

#[test]
fn amd_remapped_fields_one_hot_are_where_the_spec_puts_them() {
    let zero = AmdRemapped::new();
    assert_eq!(zero.with_remap_en(true).into_bits(), 1);
    assert_eq!(zero.with_sup_iopf(true).into_bits(), 1 << 1);
    assert_eq!(zero.with_int_type(7).into_bits(), 7 << 2);
    assert_eq!(zero.with_rq_eoi(true).into_bits(), 1 << 5);
    assert_eq!(zero.with_dm(true).into_bits(), 1 << 6);
    assert_eq!(zero.with_guest_mode(true).into_bits(), 1 << 7);
    let destination = zero.with_destination_low(0xff_ffff);
    assert_eq!(destination.into_bits(), 0xff_ffff << 8);
    let tag = zero.with_ga_tag(GaTag::from_bits(u32::MAX));
    assert_eq!(tag.into_bits(), 0xffff_ffff << 32);
    assert_eq!(zero.with_vector(0xff).into_bits(), 0xff << 64);
    assert_eq!(zero.with_reserved_75_72(0xf).into_bits(), 0xf << 72);
    let root = zero.with_ga_root((1 << 40) - 1);
    assert_eq!(root.into_bits(), ones(40) << 76);
    assert_eq!(zero.with_reserved_119_116(0xf).into_bits(), 0xf << 116);
    assert_eq!(zero.with_destination_high(0xff).into_bits(), 0xff << 120);
}

#[test]
fn amd_guest_fields_one_hot_are_where_the_spec_puts_them() {
    let zero = AmdGuest::from_bits(0);
    assert_eq!(zero.with_remap_en(true).into_bits(), 1);
    assert_eq!(zero.with_sup_iopf(true).into_bits(), 1 << 1);
    assert_eq!(zero.with_ga_log_intr(true).into_bits(), 1 << 2);
    assert_eq!(zero.with_reserved_5_3(7).into_bits(), 7 << 3);
    assert_eq!(zero.with_is_run(true).into_bits(), 1 << 6);
    assert_eq!(zero.with_guest_mode(true).into_bits(), 1 << 7);
    let destination = zero.with_destination_low(0xff_ffff);
    assert_eq!(destination.into_bits(), 0xff_ffff << 8);
    let tag = zero.with_ga_tag(GaTag::from_bits(u32::MAX));
    assert_eq!(tag.into_bits(), 0xffff_ffff << 32);
    assert_eq!(zero.with_vector(0xff).into_bits(), 0xff << 64);
    assert_eq!(zero.with_reserved_75_72(0xf).into_bits(), 0xf << 72);
    let root = zero.with_ga_root((1 << 40) - 1);
    assert_eq!(root.into_bits(), ones(40) << 76);
    assert_eq!(zero.with_reserved_119_116(0xf).into_bits(), 0xf << 116);
    assert_eq!(zero.with_destination_high(0xff).into_bits(), 0xff << 120);
    assert_eq!(AmdGuest::new().into_bits(), 1 << 7);
}

#[test]
fn amd_destination_is_split_over_both_halves() {
    let id = ApicId(0x1234_5678);
    let entry = AmdRemapped::new().with_destination(id);
    assert_eq!(entry.into_bits(), 0x12 << 120 | 0x34_5678 << 8);
    assert_eq!(entry.destination(), id);
    let guest = AmdGuest::from_bits(0).with_destination(id);
    assert_eq!(guest.into_bits(), entry.into_bits());
    assert_eq!(guest.destination(), id);
}

#[test]
fn amd_fields_not_cached_are_is_run_ga_log_destination_and_tag() {
    let fields = AmdGuest::from_bits(0)
        .with_is_run(true)
        .with_ga_log_intr(true)
        .with_destination(ApicId(u32::MAX))
        .with_ga_tag(GaTag::from_bits(u32::MAX));
    assert_eq!(AmdIrte::NOT_CACHED, fields.into_bits());
}

#[test]
fn backing_page_that_no_entry_can_hold_is_refused() {
    for bit in (0..12).chain(52..64) {
        let address = 1 << bit;
        let refused = Err(UnalignedBackingPage { address });
        assert_eq!(BackingPage::new(address), refused, "bit {bit}");
    }
    let last = 0x000f_ffff_ffff_f000;
    assert_eq!(BackingPage::new(last).map(BackingPage::get), Ok(last));
}
