mod cursor;
mod handshake;
mod pixels;
mod requests;
mod resize;
mod sizes;

use super::*;
use crate::frame::Frame;
use crate::vnc::testing::Decoder;
use crate::vnc::testing::Received;
use crate::vnc::testing::encodings;
use crate::vnc::testing::pixel_format;
use crate::vnc::testing::request;

const RAW: i32 = 0;
const ZRLE: i32 = 16;
/// Two by two tiles, the last of each row and column cut.
const SIZE: (u16, u16) = (100, 30);
const FULL: u8 = 0;
const INCREMENTAL: u8 = 1;

fn terms(security: Security) -> Terms {
    Terms {
        security,
        challenge: [7; CHALLENGE],
        name: Arc::from("head 0"),
        cut_text_max: 100,
        resize: Resize::Refused,
    }
}

/// A screen in which each pixel is another color.
fn screen(width: u16, height: u16) -> Screen {
    let mut frame = Frame::black(width, height);
    for y in 0..height {
        for (x, pixel) in (0u32..).zip(frame.line_mut(y)) {
            *pixel = ((x & 0xff) << 16) | (u32::from(y) << 8) | ((x + u32::from(y)) & 0xff);
        }
    }
    Screen {
        frame: Arc::new(frame),
        cursor: None,
    }
}

/// What the session answers to these bytes.
fn answer(session: &mut Session, bytes: &[u8]) -> Result<Vec<u8>, (ProtocolError, Vec<u8>)> {
    let mut out = Vec::new();
    match session.receive(bytes, &mut out) {
        Ok(()) => Ok(out),
        Err(error) => Err((error, out)),
    }
}

/// A session behind its handshake, and its ServerInit.
fn running(screen: &Screen) -> (Session, Vec<u8>) {
    let mut out = Vec::new();
    let mut session = Session::new(terms(Security::None), &mut out);
    assert_eq!(out, b"RFB 003.008\n");
    let handshake = answer(&mut session, b"RFB 003.008\n\x01\x01").unwrap();
    assert_eq!(handshake, [1, 1, 0, 0, 0, 0]);
    let mut init = Vec::new();
    session.fill(screen, &mut init).unwrap();
    (session, init)
}

/// All the session has to send.
fn drain(session: &mut Session, screen: &Screen) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let before = all.len();
        session.fill(screen, &mut all).unwrap();
        if all.len() == before {
            return all;
        }
    }
}

/// What a viewer of these encodings receives for a full request.
fn received(session: &mut Session, screen: &Screen, list: &[i32]) -> Received {
    let (width, height) = screen.size();
    let mut bytes = encodings(list);
    bytes.extend(request(FULL, Rect::of_size(width, height)));
    assert_eq!(answer(session, &bytes).unwrap(), []);
    Decoder::default().decode(&drain(session, screen), Format::FRAME)
}

#[test]
fn init_tells_size_format_and_name() {
    let (session, init) = running(&screen(SIZE.0, SIZE.1));
    assert!(session.is_running());
    let mut expected = vec![0, 100, 0, 30];
    expected.extend([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
    expected.extend(b"\0\0\0\x06head 0");
    assert_eq!(init, expected);
}

#[test]
fn update_is_sent_when_it_is_asked_for_and_there_is_something_new_and_not_before() {
    let screen = screen(SIZE.0, SIZE.1);
    let (mut session, _) = running(&screen);
    let whole = Rect::of_size(SIZE.0, SIZE.1);

    answer(&mut session, &request(INCREMENTAL, whole)).unwrap();
    assert_eq!(drain(&mut session, &screen), []);

    let mut damage = Damage::none(SIZE.0, SIZE.1);
    damage.mark(Rect {
        x: 70,
        y: 20,
        width: 1,
        height: 1,
    });
    session.drawn(&damage);
    let update = Decoder::default().decode(&drain(&mut session, &screen), Format::FRAME);
    let tile = Rect {
        x: 64,
        y: 16,
        width: 36,
        height: 14,
    };
    assert_eq!(update.rects, [(RAW, tile)]);

    // The request is answered.
    session.drawn(&damage);
    assert_eq!(drain(&mut session, &screen), []);
    answer(&mut session, &request(INCREMENTAL, whole)).unwrap();
    assert_ne!(drain(&mut session, &screen), []);
    answer(&mut session, &request(INCREMENTAL, whole)).unwrap();
    assert_eq!(drain(&mut session, &screen), []);
}

#[test]
fn changes_elsewhere_do_not_answer_a_request_of_a_part() {
    let screen = screen(SIZE.0, SIZE.1);
    let (mut session, _) = running(&screen);
    let mut damage = Damage::none(SIZE.0, SIZE.1);
    damage.mark(Rect {
        x: 70,
        y: 20,
        width: 1,
        height: 1,
    });
    session.drawn(&damage);
    answer(&mut session, &request(INCREMENTAL, Rect::of_size(10, 10))).unwrap();
    assert_eq!(drain(&mut session, &screen), []);

    // Both parts are asked for now.
    let part = Rect {
        x: 99,
        y: 29,
        width: 500,
        height: 500,
    };
    answer(&mut session, &request(INCREMENTAL, part)).unwrap();
    assert_ne!(drain(&mut session, &screen), []);
}

#[test]
fn frame_that_is_being_sent_is_sent_to_its_end_and_what_changed_is_sent_next() {
    let mut screen = screen(700, 250);
    let sent = Arc::clone(&screen.frame);
    let (mut session, _) = running(&screen);
    answer(&mut session, &request(FULL, Rect::of_size(700, 250))).unwrap();
    let mut first = Vec::new();
    session.fill(&screen, &mut first).unwrap();

    // All of it is another color before the second piece.
    screen.frame = Arc::new(Frame::black(700, 250));
    session.drawn(&Damage::all(700, 250));
    first.extend(drain(&mut session, &screen));
    answer(&mut session, &request(INCREMENTAL, Rect::of_size(700, 250))).unwrap();
    let second = drain(&mut session, &screen);

    let decode = |bytes: &[u8]| Decoder::default().decode(bytes, Format::FRAME);
    assert!(decode(&first).frame(700, 250) == *sent);
    assert!(decode(&second).frame(700, 250) == *screen.frame);
}

#[test]
fn text_is_passed_over_in_pieces_and_input_is_ignored() {
    let screen = screen(SIZE.0, SIZE.1);
    let (mut session, _) = running(&screen);
    let mut bytes = vec![6, 0, 0, 0, 0, 0, 0, 100];
    // Each byte would be an unknown message.
    bytes.extend([99; 100]);
    bytes.extend([4, 1, 0, 0, 0, 0, 0, b'a', 5, 0, 0, 1, 0, 1]);
    bytes.extend(request(FULL, Rect::of_size(SIZE.0, SIZE.1)));
    for byte in bytes {
        assert_eq!(answer(&mut session, &[byte]).unwrap(), []);
    }
    assert_ne!(drain(&mut session, &screen), []);
}

#[test]
fn messages_that_make_no_sense_end_the_session() {
    let screen = screen(SIZE.0, SIZE.1);
    for (bytes, expected) in [
        (vec![150], ProtocolError::Message { message: 150 }),
        (
            vec![6, 0, 0, 0, 0, 0, 0, 101],
            ProtocolError::CutText {
                len: 101,
                limit: 100,
            },
        ),
        (
            // The extended clipboard, which was not offered, has lengths below 0.
            vec![6, 0, 0, 0, 255, 255, 255, 252],
            ProtocolError::CutText {
                len: u32::MAX - 3,
                limit: 100,
            },
        ),
        (
            vec![2, 0, 4, 1],
            ProtocolError::Encodings {
                count: 1025,
                limit: 1024,
            },
        ),
        (
            pixel_format(24, 24, 0, [255; 3], [16, 8, 0]),
            ProtocolError::PixelFormat {
                bits: 24,
                depth: 24,
            },
        ),
    ] {
        let (mut session, _) = running(&screen);
        let (error, out) = answer(&mut session, &bytes).unwrap_err();
        assert_eq!((error, out.len()), (expected, 0));
    }
}

#[test]
fn inbox_keeps_no_more_than_the_longest_message() {
    let (mut session, _) = running(&screen(SIZE.0, SIZE.1));
    let mut whole = encodings(&[RAW; 1024]);
    let last = whole.pop().unwrap();
    for _ in 0..3 {
        answer(&mut session, &whole).unwrap();
        assert_eq!(session.inbox.len(), 4 + 1024 * 4 - 1);
        answer(&mut session, &[last]).unwrap();
        assert_eq!(session.inbox.len(), 0);
    }
}
