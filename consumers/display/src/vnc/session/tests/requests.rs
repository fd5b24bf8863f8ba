//! Requests that come before the one before is answered.

use super::*;

/// In the first tile, and in the last.
const FIRST: Rect = Rect::of_size(10, 10);
const LAST: Rect = Rect {
    x: 80,
    y: 20,
    width: 10,
    height: 5,
};

/// Where the first tile is, and the last.
const TILES: [(u16, u16); 2] = [(0, 0), (64, 16)];

/// Where the rectangles that are sent begin.
fn places(session: &mut Session, screen: &Screen) -> Vec<(u16, u16)> {
    let sent = Decoder::default().decode(&drain(session, screen), Format::FRAME);
    sent.rects
        .iter()
        .map(|(_, rect)| (rect.x, rect.y))
        .collect()
}

#[test]
fn changes_in_the_part_that_was_asked_for_first_answer_two_requests() {
    let screen = screen(SIZE.0, SIZE.1);
    for (parts, tile) in [([FIRST, LAST], TILES[0]), ([LAST, FIRST], TILES[1])] {
        let (mut session, _) = running(&screen);
        for part in parts {
            answer(&mut session, &request(INCREMENTAL, part)).unwrap();
        }
        let mut damage = Damage::none(SIZE.0, SIZE.1);
        damage.mark(parts[0]);
        session.drawn(&damage);
        assert_eq!(places(&mut session, &screen), [tile]);
    }
}

#[test]
fn both_parts_are_sent_of_two_requests_for_all_that_is_there() {
    let screen = screen(SIZE.0, SIZE.1);
    for parts in [[FIRST, LAST], [LAST, FIRST]] {
        let (mut session, _) = running(&screen);
        for part in parts {
            answer(&mut session, &request(FULL, part)).unwrap();
        }
        // All of the picture lies between them.
        let sent = Decoder::default().decode(&drain(&mut session, &screen), Format::FRAME);
        sent.check(SIZE.0, SIZE.1, |_, _| 0xffff_ffff);
    }
}
