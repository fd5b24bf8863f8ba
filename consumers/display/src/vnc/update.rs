//! One update on its way to a viewer, and what it may hold beside pixels.

use std::collections::VecDeque;
use std::io;

use super::encoding::Encoder;
use super::encoding::Encoding;
use super::encoding::header;
use super::format::Format;
use super::replies::Status;
use super::shown::Shown;
use crate::cursor::CursorShape;
use crate::rect::Rect;

/// The numbers of what is no encoding of pixels.
pub(super) const CURSOR: i32 = -239;
pub(super) const POINTER_POSITION: i32 = -232;
pub(super) const DESKTOP_SIZE: i32 = -223;
pub(super) const EXTENDED_DESKTOP_SIZE: i32 = -308;

/// Pixels that are encoded at once.
const PIECE: u32 = 1 << 17;
/// Lines a piece has if they are longer than that allows.
const LINES_MIN: u16 = 16;
/// A piece begins with a row of ZRLE's tiles where it can.
const LINES_STEP: u32 = 64;

/// What a viewer is being sent: this frame, though the display may have gone on.
#[derive(Debug)]
pub(super) struct Update {
    shown: Shown,
    format: Format,
    encoding: Encoding,
    pieces: VecDeque<Rect>,
}

impl Update {
    /// Begins an update of some parts of what is shown, behind `extra` rectangles of another kind, which
    /// are to be appended next.
    pub(super) fn begin(
        shown: Shown,
        format: Format,
        encoding: Encoding,
        parts: Vec<Rect>,
        extra: u16,
        out: &mut Vec<u8>,
    ) -> Self {
        let pieces: VecDeque<Rect> = parts.into_iter().flat_map(split).collect();
        // A thousand parts and twice as many pieces are the most there can be.
        let count = u16::try_from(pieces.len()).unwrap_or(u16::MAX);
        let count = count.saturating_add(extra);
        update_header(count, out);
        Self {
            shown,
            format,
            encoding,
            pieces,
        }
    }

    /// Appends the next piece, if there is one.
    ///
    /// # Errors
    ///
    /// The compressor failed.
    pub(super) fn append_piece(
        &mut self,
        encoder: &mut Encoder,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        if let Some(piece) = self.pieces.pop_front() {
            encoder.append(self.encoding, self.format, &self.shown, piece, out)?;
        }
        Ok(())
    }

    pub(super) fn is_done(&self) -> bool {
        self.pieces.is_empty()
    }
}

/// Begins a FramebufferUpdate.
fn update_header(count: u16, out: &mut Vec<u8>) {
    out.extend([0, 0]);
    out.extend(count.to_be_bytes());
}

/// Appends an update that says nothing but the size.
pub(super) fn resize(size: (u16, u16), out: &mut Vec<u8>) {
    update_header(1, out);
    header(Rect::of_size(size.0, size.1), DESKTOP_SIZE, out);
}

/// Why the extended size is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The server has this size, by itself.
    Told,
    /// The viewer has asked for one, which came to this.
    Asked(Status),
}

/// Appends an update that says nothing but the size, as that of one screen, for each of some reasons.
pub(super) fn extended_resize(reasons: &[Reason], size: (u16, u16), out: &mut Vec<u8>) {
    // A few.
    update_header(u16::try_from(reasons.len()).unwrap_or(u16::MAX), out);
    for &reason in reasons {
        extended_size(reason, size, out);
    }
}

fn extended_size(reason: Reason, size: (u16, u16), out: &mut Vec<u8>) {
    let (reason, status) = match reason {
        Reason::Told => (0, 0),
        Reason::Asked(status) => (1, status as u16),
    };
    let about = Rect {
        x: reason,
        y: status,
        width: size.0,
        height: size.1,
    };
    header(about, EXTENDED_DESKTOP_SIZE, out);
    // One screen: id 0 at (0, 0) of the whole size, no flags.
    out.extend([1, 0, 0, 0]);
    out.extend([0; 4]);
    for word in [0, 0, size.0, size.1] {
        out.extend(word.to_be_bytes());
    }
    out.extend([0; 4]);
}

/// Appends how the cursor looks. RFB knows no alpha: what is at least half opaque is shown.
pub(super) fn cursor(shape: Option<&CursorShape>, format: Format, out: &mut Vec<u8>) {
    let Some(shape) = shape else {
        header(Rect::of_size(0, 0), CURSOR, out);
        return;
    };
    let about = Rect {
        x: shape.x_hot,
        y: shape.y_hot,
        width: shape.width,
        height: shape.height,
    };
    header(about, CURSOR, out);
    let opaque = |pixel: u32| pixel >> 24 >= 0x80;
    let shown: Vec<u32> = shape
        .argb
        .iter()
        .map(|&pixel| {
            if opaque(pixel) {
                pixel & 0x00ff_ffff
            } else {
                0
            }
        })
        .collect();
    format.append(&shown, out);
    for line in shape.argb.chunks(usize::from(shape.width).max(1)) {
        for eight in line.chunks(8) {
            let bits = eight.iter().enumerate();
            let byte = bits.fold(0, |byte, (bit, &pixel)| {
                byte | u8::from(opaque(pixel)) << (7 - bit)
            });
            out.push(byte);
        }
    }
}

/// Appends where the cursor points.
pub(super) fn pointer(at: (u16, u16), out: &mut Vec<u8>) {
    let about = Rect {
        x: at.0,
        y: at.1,
        width: 0,
        height: 0,
    };
    header(about, POINTER_POSITION, out);
}

/// Pieces of a bounded size, from the top.
fn split(part: Rect) -> impl Iterator<Item = Rect> {
    let lines = PIECE / u32::from(part.width.max(1)) / LINES_STEP * LINES_STEP;
    let lines = u16::try_from(lines).unwrap_or(u16::MAX).max(LINES_MIN);
    let mut top = part.y;
    let mut left = part.height;
    std::iter::from_fn(move || {
        let height = left.min(lines);
        let piece = Rect {
            y: top,
            height,
            ..part
        };
        top = top.saturating_add(height);
        left -= height;
        (height > 0).then_some(piece)
    })
}
