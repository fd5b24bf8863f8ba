//! Frames of the test picture.

use super::*;
use proptest::prelude::*;

const CARD: TestPicture = TestPicture {
    width: 320,
    height: 200,
};

proptest! {
    // Each looks at all pixels, twice.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn strips_of_every_frame_and_size_read_back(
        frame: u64,
        width in 64..400u32,
        height in 64..200u32,
    ) {
        let card = TestPicture::new(width, height).unwrap();
        let lower = u32::try_from(frame & 0xffff_ffff).unwrap();
        let read = card.read(|x, y| card.pixel(frame, x, y));
        prop_assert_eq!(read, TestReading::Frame(lower));
    }

    #[test]
    fn frames_differ_nowhere_but_where_they_say(before in 0..1u64 << 40, after in 0..1u64 << 40) {
        let parts = CARD.changes(before, after);
        for y in 0..CARD.height {
            for x in 0..CARD.width {
                let told = parts.iter().any(|part| {
                    part.columns.contains(&x) && part.lines.contains(&y)
                });
                let same = CARD.pixel(before, x, y) == CARD.pixel(after, x, y);
                prop_assert!(told || same, "{} {}", x, y);
            }
        }
    }
}

#[test]
fn picture_of_two_frames_is_torn_and_any_other_foreign() {
    let torn = CARD.read(|x, y| CARD.pixel(if y < 100 { 7 } else { 8 }, x, y));
    assert_eq!(torn, TestReading::Torn { upper: 7, lower: 8 });
    assert_eq!(CARD.read(|_, _| BLACK), TestReading::Foreign);
    assert_eq!(CARD.read(|_, _| WHITE), TestReading::Foreign);
    assert_eq!(CARD.read(|_, _| BARS[1]), TestReading::Foreign);
}

#[test]
fn consecutive_frames_differ_in_every_line_of_the_bar() {
    for frame in [0, 1, 59, 12_345] {
        for y in CARD.between_strips() {
            let differ = |x| CARD.pixel(frame, x, y) != CARD.pixel(frame + 1, x, y);
            assert!((0..CARD.width).any(differ), "frame {frame}, line {y}");
        }
    }
}

#[test]
fn lines_of_one_band_are_the_same() {
    for card in [CARD, TestPicture::new(1280, 800).unwrap()] {
        let line = |y: u32| {
            let mut bytes = Vec::new();
            card.line(1234, 0..card.width, y, &mut bytes);
            bytes
        };
        let lines: Vec<_> = (0..card.height).map(|y| (card.band(y), line(y))).collect();
        let alike = |pair: &&[(u32, Vec<u8>)]| pair[0].0 == pair[1].0;
        let pairs = || lines.windows(2);
        assert!(pairs().filter(alike).all(|pair| pair[0].1 == pair[1].1));
        // Most of them are, or nothing is saved.
        assert!(pairs().filter(alike).count() > lines.len() / 2);
    }
}

#[test]
fn digits_are_the_frame_number() {
    let (left, top, dot) = CARD.digits();
    let lit = |frame, place: u32, column: u32, line: u32| {
        let x = left + (1 + place * ADVANCE + column) * dot;
        CARD.pixel(frame, x, top + (1 + line) * dot) == WHITE
    };
    // The last of seven digits of 41: a 1, upright in the middle; before it a 4, open above.
    assert!((0..5).all(|line| lit(41, 6, 1, line)));
    assert!(!lit(41, 6, 0, 3));
    assert!(lit(41, 5, 0, 0) && !lit(41, 5, 1, 0) && lit(41, 5, 2, 0));
}

#[test]
fn card_smaller_than_its_strips_is_none() {
    assert_eq!(TestPicture::new(63, 64), None);
    assert_eq!(TestPicture::new(64, 63), None);
    assert!(TestPicture::new(64, 64).is_some());
}
