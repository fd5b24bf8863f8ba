//! What a viewer may send (RFC 6143 section 7.5).

use super::error::ProtocolError;
use super::format;
use super::format::Format;
use crate::rect::Rect;

const SET_PIXEL_FORMAT: u8 = 0;
const SET_ENCODINGS: u8 = 2;
const UPDATE_REQUEST: u8 = 3;
const KEY_EVENT: u8 = 4;
const POINTER_EVENT: u8 = 5;
const CUT_TEXT: u8 = 6;
/// Of the extended desktop size.
const SET_DESKTOP_SIZE: u8 = 251;

/// How many encodings a viewer may list. There are not a hundred.
const ENCODINGS_MAX: u16 = 1024;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    PixelFormat(Format),
    /// By preference.
    Encodings(Vec<i32>),
    UpdateRequest {
        part: Rect,
        request: Request,
    },
    /// Followed by as many bytes of text.
    CutText {
        len: u32,
    },
    SetDesktopSize(Layout),
    /// Of a keyboard or pointer: the head has neither.
    Input,
}

/// What a viewer wants the screens to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// One, which is all of the picture.
    OneScreen {
        /// Pixels, not 0.
        width: u16,
        /// Lines, not 0.
        height: u16,
    },
    /// None, several, one that is not all of the picture, or a picture without pixels.
    Other,
}

/// What an update request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// What is new.
    Incremental,
    /// All of it.
    Full,
}

/// Reads the message at the beginning of `bytes`, and how long it is; none if more has to come.
///
/// # Errors
///
/// See [`ProtocolError`]; as soon as the bytes that say so are there.
pub(super) fn parse(
    bytes: &[u8],
    cut_text_max: u32,
) -> Result<Option<(Message, usize)>, ProtocolError> {
    let Some(&message) = bytes.first() else {
        return Ok(None);
    };
    match message {
        SET_PIXEL_FORMAT => {
            let Some(body) = fixed::<{ 4 + format::SIZE }>(bytes) else {
                return Ok(None);
            };
            let [_, _, _, _, format @ ..] = body;
            Ok(Some((
                Message::PixelFormat(Format::decode(format)?),
                body.len(),
            )))
        }
        SET_ENCODINGS => encodings(bytes),
        UPDATE_REQUEST => Ok(fixed::<10>(bytes).map(|body| {
            let [
                _,
                incremental,
                x_1,
                x_0,
                y_1,
                y_0,
                width_1,
                width_0,
                height_1,
                height_0,
            ] = body;
            let part = Rect {
                x: u16::from_be_bytes([x_1, x_0]),
                y: u16::from_be_bytes([y_1, y_0]),
                width: u16::from_be_bytes([width_1, width_0]),
                height: u16::from_be_bytes([height_1, height_0]),
            };
            let request = match incremental {
                0 => Request::Full,
                _ => Request::Incremental,
            };
            (Message::UpdateRequest { part, request }, body.len())
        })),
        KEY_EVENT => Ok(fixed::<8>(bytes).map(|body| (Message::Input, body.len()))),
        POINTER_EVENT => Ok(fixed::<6>(bytes).map(|body| (Message::Input, body.len()))),
        CUT_TEXT => {
            let Some(body) = fixed::<8>(bytes) else {
                return Ok(None);
            };
            let [_, _, _, _, len @ ..] = body;
            let len = u32::from_be_bytes(len);
            if len > cut_text_max {
                return Err(ProtocolError::CutText {
                    len,
                    limit: cut_text_max,
                });
            }
            Ok(Some((Message::CutText { len }, body.len())))
        }
        SET_DESKTOP_SIZE => Ok(desktop_size(bytes)),
        message => Err(ProtocolError::Message { message }),
    }
}

fn desktop_size(bytes: &[u8]) -> Option<(Message, usize)> {
    let [_, _, size @ .., screens, _] = fixed::<8>(bytes)?;
    let screens = bytes.get(8..8 + usize::from(screens) * 16)?;
    let [width, height] = [[size[0], size[1]], [size[2], size[3]]].map(u16::from_be_bytes);
    // Behind an id of 4 bytes: x, y, width and height, and flags.
    let is_whole = |screen: &[u8]| screen[4..8] == [0; 4] && screen[8..12] == size;
    let layout = if screens.len() == 16 && is_whole(screens) && width > 0 && height > 0 {
        Layout::OneScreen { width, height }
    } else {
        Layout::Other
    };
    Some((Message::SetDesktopSize(layout), 8 + screens.len()))
}

fn encodings(bytes: &[u8]) -> Result<Option<(Message, usize)>, ProtocolError> {
    let Some([_, _, high, low]) = fixed::<4>(bytes) else {
        return Ok(None);
    };
    let count = u16::from_be_bytes([high, low]);
    if count > ENCODINGS_MAX {
        return Err(ProtocolError::Encodings {
            count,
            limit: ENCODINGS_MAX,
        });
    }
    let len = 4 + usize::from(count) * 4;
    Ok(bytes.get(4..len).map(|list| {
        let words = list.as_chunks::<4>().0;
        let list = words.iter().map(|word| i32::from_be_bytes(*word));
        (Message::Encodings(list.collect()), len)
    }))
}

/// The first bytes, if there are as many.
fn fixed<const LEN: usize>(bytes: &[u8]) -> Option<[u8; LEN]> {
    bytes.first_chunk().copied()
}
