//! That a viewer is told of another size, keeps its own, or asks for one.

use super::*;
use crate::vnc::replies::REPLIES_MAX;
use crate::vnc::replies::Status;

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

/// A session that may ask for other sizes, and has been told that there is such a thing.
fn resizing(screen: &Screen) -> Session {
    let terms = Terms {
        resize: Resize::Monitor,
        ..terms(Security::None)
    };
    let mut session = Session::new(terms, &mut Vec::new());
    answer(&mut session, b"RFB 003.008\n\x01\x01").unwrap();
    session.fill(screen, &mut Vec::new()).unwrap();
    received(&mut session, screen, &[update::EXTENDED_DESKTOP_SIZE]);
    let whole = Rect::of_size(SIZE.0, SIZE.1);
    answer(&mut session, &request(INCREMENTAL, whole)).unwrap();
    session
}

/// SetDesktopSize with screens of these places and sizes.
fn wish(width: u16, height: u16, screens: &[[u16; 4]]) -> Vec<u8> {
    let mut bytes = vec![251, 0];
    bytes.extend([width, height].iter().flat_map(|side| side.to_be_bytes()));
    bytes.extend([u8::try_from(screens.len()).unwrap(), 0]);
    for screen in screens {
        // Any id.
        bytes.extend([0, 0, 0, 7]);
        bytes.extend(screen.iter().flat_map(|word| word.to_be_bytes()));
        bytes.extend([0; 4]);
    }
    bytes
}

fn one_screen(width: u16, height: u16) -> Vec<u8> {
    wish(width, height, &[[0, 0, width, height]])
}

/// Reason, status and size of each word about the size that is to be sent now.
fn told(session: &mut Session, screen: &Screen) -> Vec<(u16, u16, (u16, u16))> {
    let sent = Decoder::default().decode(&drain(session, screen), Format::FRAME);
    let sizes = sent.sizes.iter();
    sizes
        .map(|(_, about)| (about.x, about.y, (about.width, about.height)))
        .collect()
}

#[test]
fn wish_is_handed_on_once_and_answered_when_it_is_known_what_comes_of_it() {
    let screen = screen(SIZE.0, SIZE.1);
    let mut session = resizing(&screen);
    answer(&mut session, &one_screen(800, 600)).unwrap();
    assert_eq!(told(&mut session, &screen), []);
    assert_eq!(session.take_wish(), Some((800, 600)));
    assert_eq!(session.take_wish(), None);
    assert_eq!(told(&mut session, &screen), []);

    session.answer(Status::Forwarded);

    // This viewer's wish, which is forwarded; the size is still what it was.
    assert_eq!(told(&mut session, &screen), [(1, 4, SIZE)]);
    assert_eq!(told(&mut session, &screen), []);
}

#[test]
fn viewer_is_told_when_the_guest_has_set_the_mode() {
    let (old, new) = (screen(SIZE.0, SIZE.1), screen(50, 200));
    let mut session = resizing(&old);
    answer(&mut session, &one_screen(50, 200)).unwrap();
    session.take_wish();
    session.answer(Status::Forwarded);
    // Before there was time to send the answer: then the size comes behind it.
    session.replaced();
    let bytes = drain(&mut session, &new);
    let sent = Decoder::default().decode(&bytes, Format::FRAME);
    let reasons: Vec<_> = sent
        .sizes
        .iter()
        .map(|(_, about)| (about.x, about.y))
        .collect();
    assert_eq!(reasons, [(1, 4), (0, 0)]);
    assert_eq!(sent.sizes[1].1, Rect::of_size(50, 200));
}

#[test]
fn layouts_of_other_than_one_screen_over_the_whole_picture_are_invalid() {
    let screen = screen(SIZE.0, SIZE.1);
    for layout in [
        wish(800, 600, &[]),
        wish(1600, 600, &[[0, 0, 800, 600], [800, 0, 800, 600]]),
        wish(800, 600, &[[1, 0, 799, 600]]),
        wish(800, 600, &[[0, 0, 800, 599]]),
        wish(0, 600, &[[0, 0, 0, 600]]),
        wish(800, 0, &[[0, 0, 800, 0]]),
        wish(800, 600, &[[0; 4]; 255]),
    ] {
        let mut session = resizing(&screen);
        answer(&mut session, &layout).unwrap();
        assert_eq!(session.take_wish(), None);
        assert_eq!(told(&mut session, &screen), [(1, 3, SIZE)]);
    }
}

#[test]
fn last_of_many_wishes_is_handed_on_and_each_is_answered_up_to_a_limit() {
    let screen = screen(SIZE.0, SIZE.1);
    for (wishes, answers) in [(3, 3), (1000, REPLIES_MAX)] {
        let mut session = resizing(&screen);
        for width in 100..100 + wishes {
            answer(&mut session, &one_screen(width, 600)).unwrap();
        }
        assert_eq!(session.take_wish(), Some((99 + wishes, 600)));
        session.answer(Status::Done);
        assert_eq!(told(&mut session, &screen), vec![(1, 0, SIZE); answers]);
    }
}

#[test]
fn wish_of_a_viewer_that_does_not_know_the_answer_is_passed_over() {
    let screen = screen(SIZE.0, SIZE.1);
    let (mut unknowing, _) = running(&screen);
    answer(&mut unknowing, &one_screen(800, 600)).unwrap();
    assert_eq!(unknowing.take_wish(), None);
    // One that has forgotten it meanwhile is told nothing when it learns it again.
    let mut session = resizing(&screen);
    answer(&mut session, &one_screen(800, 600)).unwrap();
    answer(&mut session, &encodings(&[RAW])).unwrap();
    assert_eq!(session.take_wish(), None);
    answer(&mut session, &encodings(&[update::EXTENDED_DESKTOP_SIZE])).unwrap();
    assert_eq!(told(&mut session, &screen), [(0, 0, SIZE)]);
}
