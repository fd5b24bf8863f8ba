//! Pictures that are taken while the guest draws the next one.

use super::*;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::PlaneType;

/// 64 by 64 pixels of 32 bits.
const PICTURE: usize = 64 * 64 * 4;

#[test]
fn thousand_pictures_read_while_the_guest_draws_the_next_are_none_mixed() {
    let mut bed = Bed::of("small");
    let view = bed.device.head_view(HEAD).unwrap();
    let flip = bed.listen(HeadEvent::Flip);
    for (word, value) in [(3, 32), (1, 64), (2, 64), (6, 64), (4, 0xc1u16)] {
        bed.write16(0x500 + 2 * word, value);
    }
    bed.frame();
    let mut before = 0;
    for frame in 1..=1000u32 {
        // A colour a frame, in the buffer that is not shown.
        let colour = frame.to_le_bytes()[0];
        let (line, offset) = [(0, 0), (64, PICTURE as u64)][usize::from(frame % 2 == 1)];
        let mut pixels = vec![0; PICTURE];
        let (upper, lower) = pixels.split_at_mut(PICTURE / 2);
        let read = |at: usize, data: &mut [u8]| {
            let read = view.region_read(RegionIndex(0), at as u64, data);
            assert_eq!(read, Ok(data.len()));
        };
        view.query_gfx_plane(GfxTransport::Region, PlaneType::PRIMARY)
            .unwrap();
        read(0, upper);
        bed.draw(offset, &[colour; PICTURE]);
        bed.write16(0x512, line);
        read(PICTURE / 2, lower);
        assert!(pixels.iter().all(|&byte| byte == before), "{frame}");
        bed.frame();
        assert_eq!(count(&flip), if frame == 1 { 2 } else { 1 });
        before = colour;
    }
}
