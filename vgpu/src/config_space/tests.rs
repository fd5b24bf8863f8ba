use super::*;
use proptest::prelude::*;

const VRAM: u32 = 16 << 20;

fn space() -> ConfigSpace {
    ConfigSpace::new(VRAM, 3)
}

fn read<const N: usize>(space: &ConfigSpace, offset: usize) -> [u8; N] {
    let mut data = [0; N];
    space.read(offset, &mut data);
    data
}

fn read_u32(space: &ConfigSpace, offset: usize) -> u32 {
    u32::from_le_bytes(read(space, offset))
}

#[test]
fn identity_is_that_of_the_bochs_display() {
    let space = space();
    assert_eq!(read_u32(&space, 0x00), 0x1111_1234);
    assert_eq!(read_u32(&space, 0x08), 0x0380_0002);
    assert_eq!(read_u32(&space, 0x2c), 0x1100_1af4);
    assert_eq!(read(&space, 0x3d), [0], "no interrupt pin");
}

#[test]
fn bars_are_sized_by_writing_ones() {
    let mut space = space();
    for bar in (0x10..0x28).step_by(4) {
        space.write(bar, &[0xff; 4]);
    }
    let sizes = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24].map(|bar| read_u32(&space, bar));
    assert_eq!(sizes, [0xff00_0008, 0, 0xffff_f000, 0, 0xffff_f000, 0]);
    space.write(0x30, &[0xff; 4]);
    assert_eq!(read_u32(&space, 0x30), 0, "no rom");
}

#[test]
fn bar_keeps_its_address_whatever_the_width_it_is_written_with() {
    let mut space = space();
    space.write(0x12, &[0xbf, 0xfe]);
    space.write(0x13, &[0xfd]);
    // The lower 24 bits size 16 MiB.
    assert_eq!(read_u32(&space, 0x10), 0xfd00_0008);
}

#[test]
fn capabilities_are_chained_and_end() {
    let space = space();
    let mut found = Vec::new();
    let [mut at] = read(&space, 0x34);
    while at != 0 {
        let [id, next] = read(&space, usize::from(at));
        found.push((id, at));
        at = next;
    }
    assert_eq!(found, [(0x10, 0x40), (0x11, 0x80), (0x09, 0x90)]);
}

#[test]
fn msix_capability_tells_size_and_place_and_keeps_enable_and_mask() {
    let mut space = space();
    assert_eq!(
        read(&space, 0x82),
        2u16.to_le_bytes(),
        "one less than its vectors"
    );
    assert_eq!((read_u32(&space, 0x84), read_u32(&space, 0x88)), (4, 0x804));
    space.write(0x82, &[0xff, 0xff]);
    assert_eq!(read(&space, 0x82), 0xc002u16.to_le_bytes());
}

#[test]
fn vendor_capability_leads_to_the_block() {
    let space = space();
    assert_eq!(read::<8>(&space, 0x90), *b"\x09\x00\x10\x00VGPU");
    assert_eq!(
        (read_u32(&space, 0x98), read_u32(&space, 0x9c)),
        (0x802, 0x800)
    );
}

#[test]
fn function_reset_is_told_by_its_bit_alone_and_reads_as_0() {
    let mut space = space();
    assert_eq!(space.write(0x48, &[0xff, 0x7f]), ConfigEffect::Stored);
    assert_eq!(space.write(0x49, &[0x80]), ConfigEffect::Reset);
    assert_eq!(read::<2>(&space, 0x48)[1] & 0x80, 0);
    assert_eq!(
        space.write(0x40, &[0xff; 16]),
        ConfigEffect::Reset,
        "within a wider write"
    );
}

proptest! {
    #[test]
    fn any_write_changes_writable_bits_only_and_reset_takes_all_back(
        writes in proptest::collection::vec(
            (0..SIZE, proptest::collection::vec(any::<u8>(), 0..64)),
            0..40,
        ),
    ) {
        let fresh = space();
        let mut space = space();
        for (offset, data) in writes {
            // A write that leaves it is cut by whoever knows the region's size.
            let len = data.len().min(SIZE - offset);
            space.write(offset, &data[..len]);
        }
        for (at, writable) in fresh.writable.iter().enumerate() {
            let [before] = read(&fresh, at);
            let [after] = read(&space, at);
            prop_assert_eq!(before & !writable, after & !writable);
        }
        space.reset();
        prop_assert_eq!(space, fresh);
    }
}
