//! That a viewer gets the pixels of the frame.

use proptest::prelude::*;

use super::*;

#[test]
fn every_encoding_gives_the_pixels_of_the_frame() {
    // Larger than a piece in both directions, and no multiple of a tile.
    let screen = screen(700, 250);
    for (list, expected) in [
        (&[][..], RAW),
        (&[RAW, ZRLE], RAW),
        (&[ZRLE, RAW], ZRLE),
        (&[1, 5, ZRLE], ZRLE),
        // Tight is not sent.
        (&[7], RAW),
    ] {
        let (mut session, _) = running(&screen);
        let update = received(&mut session, &screen, list);
        assert!(
            update
                .rects
                .iter()
                .all(|&(encoding, _)| encoding == expected)
        );
        assert!(update.frame(700, 250) == *screen.frame, "{list:?}");
    }
}

/// Pictures of all kinds: one color, a few, runs, noise.
fn any_screen() -> impl Strategy<Value = Screen> {
    let colors = prop_oneof![Just(1u32), 2..20u32, Just(1 << 24)];
    let size = (1..200u16, 1..120u16);
    (size, colors, 1..40usize, any::<u64>()).prop_map(|((width, height), colors, run, seed)| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut screen = screen(width, height);
        let frame = Arc::make_mut(&mut screen.frame);
        for y in 0..height {
            for run in frame.line_mut(y).chunks_mut(run) {
                run.fill(random.u32(..colors).wrapping_mul(0x9e_3779) & 0x00ff_ffff);
            }
        }
        screen
    })
}

proptest! {
    #[test]
    fn any_two_pictures_in_a_row_come_as_they_are(
        screens in prop::array::uniform2(any_screen()),
        encoding in prop::sample::select(vec![RAW, ZRLE]),
    ) {
        let mut decoder = Decoder::default();
        let (mut session, _) = running(&screens[0]);
        let list = [encoding, update::DESKTOP_SIZE];
        answer(&mut session, &encodings(&list)).unwrap();
        for screen in &screens {
            session.replaced();
            let everything = Rect::of_size(u16::MAX, u16::MAX);
            answer(&mut session, &request(INCREMENTAL, everything)).unwrap();
            let update = decoder.decode(&drain(&mut session, screen), Format::FRAME);
            let (width, height) = screen.size();
            prop_assert!(update.frame(width, height) == *screen.frame);
        }
    }
}

#[test]
fn pixels_come_in_the_format_asked_for() {
    let screen = screen(130, 70);
    let formats = [
        pixel_format(32, 24, 1, [255; 3], [16, 8, 0]),
        pixel_format(32, 24, 0, [255; 3], [0, 8, 16]),
        pixel_format(32, 24, 1, [255; 3], [24, 16, 8]),
        pixel_format(32, 30, 0, [1023; 3], [20, 10, 0]),
        pixel_format(16, 16, 0, [31, 63, 31], [11, 5, 0]),
        pixel_format(16, 15, 1, [31; 3], [10, 5, 0]),
        pixel_format(8, 8, 0, [7, 7, 3], [0, 3, 6]),
    ];
    for wire in formats {
        let format = Format::decode(wire[4..].try_into().unwrap()).unwrap();
        for encoding in [RAW, ZRLE] {
            let (mut session, _) = running(&screen);
            let mut bytes = wire.clone();
            bytes.extend(encodings(&[encoding]));
            bytes.extend(request(FULL, Rect::of_size(130, 70)));
            answer(&mut session, &bytes).unwrap();
            let update = Decoder::default().decode(&drain(&mut session, &screen), format);
            let expected = |x: u16, y: u16| format.pixel(screen.frame.line(y)[usize::from(x)]);
            update.check(130, 70, expected);
        }
    }
}
