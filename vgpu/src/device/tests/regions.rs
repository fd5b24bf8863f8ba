//! Regions: sizes, bounds, what is mappable, and reset.

use super::*;
use irqbroker_vfio_abi::RegionFlags;

fn config<const N: usize>(bed: &Bed, offset: u64) -> [u8; N] {
    let mut data = [0; N];
    let read = bed
        .device
        .region_read(RegionIndex::CONFIG, offset, &mut data);
    assert_eq!(read, Ok(N));
    data
}

/// All that a guest can read but the counters that go on: configuration, registers, table, VRAM.
fn snapshot(bed: &Bed) -> Vec<u8> {
    let parts = [
        (RegionIndex::CONFIG, 0x1000),
        (RegionIndex::BAR2, 0x908),
        (RegionIndex::BAR4, 0x1000),
        (RegionIndex::BAR0, 8 << 20),
    ];
    let mut all = Vec::new();
    for (index, len) in parts {
        let mut data = vec![0; len];
        assert_eq!(bed.device.region_read(index, 0, &mut data), Ok(len));
        all.extend(data);
    }
    all
}

#[test]
fn regions_are_three_bars_and_configuration_space() {
    let bed = Bed::new();
    let info = |index| bed.device.region_info(RegionIndex(index));
    let told = |index| info(index).map(|info| (info.size, info.flags.bits()));
    // READ 1, WRITE 2, MMAP 4.
    assert_eq!(told(0), Ok((16 << 20, 7)));
    assert_eq!(told(2), Ok((0x1000, 3)));
    assert_eq!(told(4), Ok((0x1000, 3)));
    assert_eq!(told(7), Ok((0x1000, 3)));
    for absent in [1, 3, 5, 6] {
        assert_eq!(told(absent), Ok((0, 0)));
    }
    assert_eq!(told(8), Err(Errno::EINVAL));
    // The EDID, and the planes of a head that shows nothing.
    assert_eq!(told(9), Ok((0x1000, 3)));
    assert_eq!(told(10), Ok((0, 1)));
    assert_eq!(told(11), Ok((0, 1)));
    assert_eq!(told(12), Err(Errno::EINVAL));
    for index in (0..10).map(RegionIndex) {
        let mappable = info(index.0).is_ok_and(|info| info.flags.contains(RegionFlags::MMAP));
        assert_eq!(bed.device.region_fd(index).is_some(), mappable);
    }
}

#[test]
fn access_is_cut_at_the_end_of_a_region_and_einval_beyond_it() {
    let bed = Bed::new();
    for (index, size) in [(0, 16 << 20), (2, 0x1000), (4, 0x1000), (7, 0x1000)] {
        let index = RegionIndex(index);
        let mut data = [0; 16];
        assert_eq!(bed.device.region_read(index, size - 6, &mut data), Ok(6));
        assert_eq!(bed.device.region_write(index, size - 6, &data), Ok(6));
        for beyond in [size, size + 1, u64::MAX] {
            assert_eq!(
                bed.device.region_read(index, beyond, &mut data),
                Err(Errno::EINVAL)
            );
            assert_eq!(
                bed.device.region_write(index, beyond, &data),
                Err(Errno::EINVAL)
            );
        }
    }
    for absent in [1, 3, 5, 6, 8, 10, 11, 12, u32::MAX] {
        let read = bed.device.region_read(RegionIndex(absent), 0, &mut [0; 4]);
        assert_eq!(read, Err(Errno::EINVAL));
        let written = bed.device.region_write(RegionIndex(absent), 0, &[0; 4]);
        assert_eq!(written, Err(Errno::EINVAL));
    }
}

#[test]
fn vram_is_the_file_that_is_mapped() {
    let bed = Bed::new();
    bed.draw(0x12_3456, b"picture");
    let mut data = [0; 7];
    let fd = bed.device.region_fd(RegionIndex::BAR0).unwrap();
    assert_eq!(rustix::io::pread(fd, &mut data, 0x12_3456), Ok(7));
    assert_eq!(&data, b"picture");
}

#[test]
fn enable_clears_the_picture_unless_told_not_to() {
    let bed = Bed::new();
    let first = |bed: &Bed| {
        let mut data = [0];
        bed.device
            .region_read(RegionIndex::BAR0, 4096, &mut data)
            .unwrap();
        data[0]
    };
    bed.draw(4096, &[9]);
    bed.set_mode();
    assert_eq!(first(&bed), 0);
    bed.draw(4096, &[9]);
    bed.write16(0x508, 0);
    bed.write16(0x508, 0xc1);
    assert_eq!(first(&bed), 9);
}

#[test]
fn reset_leaves_no_trace_in_any_region() {
    let mut bed = Bed::new();
    let fresh = snapshot(&bed);
    for round in 0..2 {
        bed.set_mode();
        bed.commit(800);
        bed.draw(77, &[1, 2, 3]);
        bed.write32(0x900, 7);
        bed.write32(0x93c, 1);
        for (index, offset) in [
            (RegionIndex::CONFIG, 4),
            (RegionIndex::CONFIG, 0x10),
            (RegionIndex::BAR4, 0),
        ] {
            bed.device.region_write(index, offset, &[0xff; 2]).unwrap();
        }
        bed.frame();
        assert_ne!(snapshot(&bed), fresh);
        if round == 0 {
            bed.device.reset().unwrap();
        } else {
            // Function level reset, as a guest does it.
            bed.device
                .region_write(RegionIndex::CONFIG, 0x49, &[0xa8])
                .unwrap();
        }
        assert_eq!(snapshot(&bed), fresh);
        assert_eq!(bed.device.scanout(HEAD), None);
        assert_eq!(bed.device.cursor(HEAD), None);
    }
}

#[test]
fn reset_keeps_bindings_and_tells_them_that_the_picture_is_gone() {
    let mut bed = Bed::new();
    bed.set_mode();
    bed.write32(0x900, 1);
    bed.frame();
    let (flip, vector) = (bed.listen(HeadEvent::Flip), new_event());
    bed.bind(IrqIndex::MSIX, 0, &vector);
    bed.device.reset().unwrap();
    bed.frame();
    assert_eq!((count(&flip), count(&vector)), (1, 0));
    bed.write32(0x900, 1);
    bed.frame();
    assert_eq!(count(&vector), 1);
}

#[test]
fn guest_that_was_reset_is_told_of_no_flip_from_before() {
    let mut bed = Bed::new();
    bed.set_mode();
    bed.frame();
    let (flip, vector) = (bed.listen(HeadEvent::Flip), new_event());
    bed.commit(800);
    bed.device.reset().unwrap();
    // The next driver is there before the vblank.
    bed.bind(IrqIndex::MSIX, 1, &vector);
    bed.write32(0x900, 2);
    bed.frame();
    assert_eq!((count(&flip), count(&vector)), (1, 0));
    assert_eq!(bed.read32(0x904) & 2, 0);
    // Its own it is told of, also within the frame of a reset.
    bed.set_mode();
    bed.frame();
    assert_eq!((count(&flip), count(&vector)), (1, 1));
    bed.device.reset().unwrap();
    bed.write32(0x900, 2);
    bed.set_mode();
    bed.frame();
    assert_eq!((count(&flip), count(&vector)), (1, 1));
}

#[test]
fn identity_is_read_with_any_width() {
    let bed = Bed::new();
    assert_eq!(config(&bed, 0), [0x34, 0x12, 0x11, 0x11]);
    assert_eq!(config(&bed, 1), [0x12]);
    assert_eq!(config::<3>(&bed, 9), [0x00, 0x80, 0x03]);
}
