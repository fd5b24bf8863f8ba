//! That a viewer is told of another size, or keeps its own.

use super::*;

#[test]
fn resize_is_told_before_the_picture_in_its_new_size() {
    let new = screen(50, 200);
    for (known, expected) in [
        (update::DESKTOP_SIZE, vec![update::DESKTOP_SIZE]),
        (
            update::EXTENDED_DESKTOP_SIZE,
            // The first tells that there is such a thing.
            vec![update::EXTENDED_DESKTOP_SIZE; 2],
        ),
    ] {
        let old = screen(SIZE.0, SIZE.1);
        let (mut session, _) = running(&old);
        let first = received(&mut session, &old, &[RAW, known]);
        session.replaced();
        answer(&mut session, &request(INCREMENTAL, Rect::of_size(500, 500))).unwrap();
        let second = Decoder::default().decode(&drain(&mut session, &new), Format::FRAME);

        let told = first.sizes.iter().chain(&second.sizes);
        let kinds: Vec<i32> = told.map(|&(kind, _)| kind).collect();
        assert_eq!(kinds, expected);
        assert_eq!(second.sizes[0].1, Rect::of_size(50, 200));
        assert!(second.frame(50, 200) == *new.frame);
    }
}

#[test]
fn viewer_that_knows_no_resize_keeps_its_size_with_black_beyond_the_picture() {
    let old = screen(SIZE.0, SIZE.1);
    let new = screen(50, 200);
    let (mut session, _) = running(&old);
    received(&mut session, &old, &[RAW]);
    session.replaced();
    answer(&mut session, &request(INCREMENTAL, Rect::of_size(500, 500))).unwrap();
    let update = Decoder::default().decode(&drain(&mut session, &new), Format::FRAME);

    assert_eq!(update.sizes, []);
    update.check(SIZE.0, SIZE.1, |x, y| {
        new.frame.line(y).get(usize::from(x)).copied().unwrap_or(0)
    });
}

#[test]
fn wish_for_another_size_is_refused() {
    let screen = screen(SIZE.0, SIZE.1);
    let (mut session, _) = running(&screen);
    received(&mut session, &screen, &[update::EXTENDED_DESKTOP_SIZE]);
    // One screen, whatever it is.
    let mut bytes = vec![251, 0, 4, 0, 3, 0, 1, 0];
    bytes.extend([9; 16]);
    bytes.extend(request(INCREMENTAL, Rect::of_size(SIZE.0, SIZE.1)));
    answer(&mut session, &bytes).unwrap();
    let told = Decoder::default().decode(&drain(&mut session, &screen), Format::FRAME);
    let refused = Rect {
        x: 1,
        y: 1,
        width: SIZE.0,
        height: SIZE.1,
    };
    assert_eq!(told.sizes, [(update::EXTENDED_DESKTOP_SIZE, refused)]);
}
