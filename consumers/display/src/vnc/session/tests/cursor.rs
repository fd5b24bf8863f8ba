//! The cursor, apart from the picture or in it.

use super::*;
use crate::cursor::CursorShape;

/// A cursor of 4 by 4 pixels of one color.
fn cursor(x: i32, y: i32) -> Cursor {
    let shape = CursorShape {
        width: 4,
        height: 4,
        x_hot: 0,
        y_hot: 0,
        argb: vec![0xff12_3456; 16],
    };
    Cursor {
        shape: Arc::new(shape),
        x,
        y,
    }
}

#[test]
fn cursor_is_sent_apart_from_the_picture_and_its_end_is_told() {
    let mut screen = screen(SIZE.0, SIZE.1);
    let list = [RAW, update::CURSOR, update::POINTER_POSITION];
    let (mut session, _) = running(&screen);
    let none_yet = received(&mut session, &screen, &list);
    assert_eq!(none_yet.cursor, None);

    // Nine pixels wide: two bytes of mask a line. The first pixel is half transparent and a bit.
    let mut argb = vec![0xff12_3456; 18];
    argb[0] = 0x7fff_ffff;
    let shape = CursorShape {
        width: 9,
        height: 2,
        x_hot: 3,
        y_hot: 1,
        argb,
    };
    screen.cursor = Some(Cursor {
        shape: Arc::new(shape),
        x: 37,
        y: 49,
    });
    session.cursor_changed();
    session.pointer_moved();
    answer(&mut session, &request(INCREMENTAL, Rect::of_size(1, 1))).unwrap();
    let update = Decoder::default().decode(&drain(&mut session, &screen), Format::FRAME);
    let (at, pixels, mask) = update.cursor.unwrap();
    assert_eq!(
        at,
        Rect {
            x: 3,
            y: 1,
            width: 9,
            height: 2
        }
    );
    assert_eq!(pixels[..8], [0, 0, 0, 0, 0x56, 0x34, 0x12, 0]);
    assert_eq!(mask, [0x7f, 0x80, 0xff, 0x80]);
    assert_eq!(update.pointer, Some((40, 50)));
    assert_eq!(update.rects, []);

    screen.cursor = None;
    session.cursor_changed();
    answer(&mut session, &request(INCREMENTAL, Rect::of_size(1, 1))).unwrap();
    let update = Decoder::default().decode(&drain(&mut session, &screen), Format::FRAME);
    assert_eq!(update.cursor, Some((Rect::of_size(0, 0), vec![], vec![])));
}

#[test]
fn viewer_that_knows_no_cursor_has_it_in_its_picture() {
    let mut screen = screen(SIZE.0, SIZE.1);
    let (mut session, _) = running(&screen);
    let mut decoder = Decoder::default();
    let bytes = [encodings(&[ZRLE]), request(FULL, Rect::of_size(500, 500))].concat();
    answer(&mut session, &bytes).unwrap();
    let mut seen = decoder
        .decode(&drain(&mut session, &screen), Format::FRAME)
        .frame(SIZE.0, SIZE.1);
    // It comes, moves to other tiles and within one, half out, beyond, and goes.
    for (at, tiles) in [
        (Some((0, 0)), 1),
        (Some((62, 14)), 4),
        (Some((98, 28)), 4),
        (Some((90, 20)), 1),
        (Some((-9, -9)), 1),
        (Some((1, 1)), 1),
        (None, 1),
    ] {
        screen.cursor = at.map(|(x, y)| cursor(x, y));
        session.pointer_moved();
        answer(&mut session, &request(INCREMENTAL, Rect::of_size(500, 500))).unwrap();
        let update = decoder.decode(&drain(&mut session, &screen), Format::FRAME);
        assert_eq!(update.cursor, None);
        let area = |&(_, rect): &(i32, Rect)| usize::from(rect.width) * usize::from(rect.height);
        let sent: usize = update.rects.iter().map(area).sum();
        assert!(sent > 0 && sent <= tiles * 64 * 16, "{sent} at {at:?}");

        update.put(&mut seen);
        for y in 0..SIZE.1 {
            for x in 0..SIZE.0 {
                let pointed = at.is_some_and(|(left, top)| {
                    (left..left + 4).contains(&i32::from(x))
                        && (top..top + 4).contains(&i32::from(y))
                });
                let under = screen.frame.line(y)[usize::from(x)];
                let expected = if pointed { 0x0012_3456 } else { under };
                assert_eq!(seen.line(y)[usize::from(x)], expected, "{x}, {y} of {at:?}");
            }
        }
    }
    answer(&mut session, &request(INCREMENTAL, Rect::of_size(500, 500))).unwrap();
    assert_eq!(drain(&mut session, &screen), []);
}

#[test]
fn cursor_leaves_the_picture_of_a_viewer_that_learns_to_know_it() {
    let mut screen = screen(SIZE.0, SIZE.1);
    screen.cursor = Some(cursor(10, 10));
    let (mut session, _) = running(&screen);
    let painted = received(&mut session, &screen, &[RAW]);
    assert!(painted.frame(SIZE.0, SIZE.1) != *screen.frame);
    assert_eq!(painted.cursor, None);

    answer(&mut session, &encodings(&[RAW, update::CURSOR])).unwrap();
    answer(&mut session, &request(INCREMENTAL, Rect::of_size(500, 500))).unwrap();
    let update = Decoder::default().decode(&drain(&mut session, &screen), Format::FRAME);
    let mut seen = painted.frame(SIZE.0, SIZE.1);
    update.put(&mut seen);
    assert!(seen == *screen.frame);
    assert!(update.cursor.is_some());
}

#[test]
fn cursor_is_sent_again_in_a_format_that_is_asked_for_later() {
    let mut screen = screen(SIZE.0, SIZE.1);
    screen.cursor = Some(cursor(10, 10));
    let (mut session, _) = running(&screen);
    let first = received(&mut session, &screen, &[RAW, update::CURSOR]);
    let (_, pixels, _) = first.cursor.unwrap();
    assert_eq!(pixels[..4], [0x56, 0x34, 0x12, 0]);

    let wire = pixel_format(32, 24, 1, [255; 3], [16, 8, 0]);
    let format = Format::decode(wire[4..].try_into().unwrap()).unwrap();
    answer(&mut session, &wire).unwrap();
    answer(&mut session, &request(INCREMENTAL, Rect::of_size(1, 1))).unwrap();
    let again = Decoder::default().decode(&drain(&mut session, &screen), format);
    let (_, pixels, _) = again.cursor.unwrap();
    assert_eq!(pixels[..4], [0, 0x12, 0x34, 0x56]);
}
