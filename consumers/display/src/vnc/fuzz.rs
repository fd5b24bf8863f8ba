//! What a viewer sends, as a fuzz target: a plain function that panics where a property does not
//! hold.
//!
//! The properties: it does not matter in how many pieces the bytes come; what is kept of them and
//! what is sent for them is bounded; a session that is over was over for a reason.

use std::sync::Arc;

use super::error::ProtocolError;
use super::options::Resize;
use super::password::CHALLENGE;
use super::replies::REPLIES_MAX;
use super::replies::Status;
use super::screen::Screen;
use super::security::Security;
use super::session::Session;
use super::session::Terms;
use crate::cursor::Cursor;
use crate::cursor::CursorShape;
use crate::frame::Frame;

/// What is longer says nothing new.
const LEN_MAX: usize = 4096;
/// Of the picture: cut tiles at both edges.
const WIDTH: u16 = 70;
const HEIGHT: u16 = 20;
/// Pieces of an update are never more: the picture in 32 bits, and a kilobyte of headers.
const PIECE_MAX: usize = WIDTH as usize * HEIGHT as usize * 4 + 1024;
const _: () = assert!(REPLIES < PIECE_MAX);
/// Nor are there more of them for one request.
const PIECES_MAX: usize = 64;

/// The first byte's bit that says that viewers may ask for another size.
const MAY_RESIZE: u8 = 0x80;
/// What is appended for wishes: one header of an update, and for each an answer of one screen.
const REPLIES: usize = 4 + (REPLIES_MAX + 1) * 32;

/// The bytes of a viewer behind one that says in how many pieces they come, and what it may.
///
/// # Panics
///
/// A property does not hold.
pub fn rfb(data: &[u8]) {
    let Some((&pieces, bytes)) = data.split_first() else {
        return;
    };
    let bytes = &bytes[..bytes.len().min(LEN_MAX)];
    let resize = match pieces & MAY_RESIZE {
        0 => Resize::Refused,
        _ => Resize::Monitor,
    };
    let pieces = pieces & !MAY_RESIZE;
    let whole = serve(bytes, bytes.len().max(1), resize);
    let in_pieces = serve(bytes, usize::from(pieces).max(1), resize);
    assert_eq!(whole, in_pieces);
}

/// What is sent to somebody who sends this, and how it ended.
fn serve(bytes: &[u8], at_once: usize, resize: Resize) -> (Vec<u8>, Result<(), ProtocolError>) {
    let terms = Terms {
        security: Security::None,
        challenge: [0; CHALLENGE],
        name: Arc::from("fuzz"),
        cut_text_max: 1024,
        resize,
    };
    let mut sent = Vec::new();
    let mut session = Session::new(terms, &mut sent);
    for piece in bytes.chunks(at_once) {
        if let Err(error) = session.receive(piece, &mut sent) {
            return (sent, Err(error));
        }
    }
    if let Some((width, height)) = session.take_wish() {
        assert_eq!(resize, Resize::Monitor);
        assert!(session.is_running() && width > 0 && height > 0);
        session.answer(Status::Forwarded);
    }
    // Nothing is sent for what makes no sense, whatever came before it in the same piece.
    let screen = screen();
    for at in 0.. {
        let mut piece = Vec::new();
        let filled = session.fill(&screen, &mut piece);
        assert!(filled.is_ok(), "{filled:?}");
        assert!(piece.len() <= PIECE_MAX, "{} bytes", piece.len());
        assert!(at <= PIECES_MAX);
        if piece.is_empty() {
            break;
        }
        sent.extend(piece);
    }
    (sent, Ok(()))
}

fn screen() -> Screen {
    let shape = CursorShape {
        width: 3,
        height: 2,
        x_hot: 1,
        y_hot: 1,
        argb: vec![0xff00_00ff; 6],
    };
    let mut frame = Frame::black(WIDTH, HEIGHT);
    for y in 0..HEIGHT {
        // From one color at the top to many further down.
        for (x, pixel) in (0u32..).zip(frame.line_mut(y)) {
            *pixel = (x * u32::from(y) * 0x01_0203) & 0x00ff_ffff;
        }
    }
    Screen {
        frame: Arc::new(frame),
        cursor: Some(Cursor {
            shape: Arc::new(shape),
            x: 8,
            y: 8,
        }),
    }
}
