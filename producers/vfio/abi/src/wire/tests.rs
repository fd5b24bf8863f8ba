use std::mem::offset_of;

use super::*;

#[test]
fn structures_have_the_sizes_of_the_header() {
    assert_eq!(size_of::<DeviceInfoWire>(), 24);
    assert_eq!(size_of::<RegionInfoWire>(), 32);
    assert_eq!(size_of::<IrqInfoWire>(), 24);
    assert_eq!(size_of::<CapHeaderWire>(), 8);
    assert_eq!(size_of::<IrqSetWire>(), 20);
    assert_eq!(size_of::<GfxPlaneInfoWire>(), 64);
    assert_eq!(size_of::<GfxEdidWire>(), 24);
    assert_eq!(size_of::<ArrayHeadWire>(), 8);
    assert_eq!(size_of::<TypeWire>(), 8);
    assert_eq!(size_of::<SparseAreaWire>(), 16);
    assert_eq!(size_of::<DisplayEventWire>(), 16);
    assert_eq!(size_of::<MsiDescriptorWire>(), 16);
}

#[test]
fn fixed_parts_that_every_kernel_knows_end_where_the_later_words_begin() {
    assert_eq!(offset_of!(DeviceInfoWire, cap_offset), 16);
    assert_eq!(offset_of!(DeviceInfoWire, pad), 20);
    assert_eq!(offset_of!(IrqInfoWire, cap_offset), 16);
    assert_eq!(offset_of!(GfxPlaneInfoWire, reserved), 60);
}

#[test]
fn words_of_64_bits_are_aligned_wherever_a_capability_begins_at_a_multiple_of_8() {
    assert_eq!(offset_of!(MsiDescriptorWire, address) % 8, 0);
    assert_eq!(size_of::<MsiDescriptorWire>() % 8, 0);
    assert_eq!(
        (size_of::<CapHeaderWire>() + size_of::<ArrayHeadWire>()) % 8,
        0
    );
    assert_eq!(size_of::<IrqInfoWire>() % 8, 0);
}
