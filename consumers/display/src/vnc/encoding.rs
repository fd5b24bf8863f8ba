//! Pixels as a viewer takes them; the compression is the library's.

use std::io;

use flate2::Compress;
use flate2::Compression;
use rfb_encodings::encode_zrle_persistent;

use super::format::Format;
use super::shown::Shown;
use crate::rect::Rect;

/// How pixels are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Raw,
    Zrle,
}

impl Encoding {
    /// Its number on the wire.
    const fn number(self) -> i32 {
        match self {
            Self::Raw => rfb_encodings::ENCODING_RAW,
            Self::Zrle => rfb_encodings::ENCODING_ZRLE,
        }
    }

    /// That of a number, if it is one that is sent.
    pub(super) fn of_number(number: i32) -> Option<Self> {
        [Self::Raw, Self::Zrle]
            .into_iter()
            .find(|encoding| encoding.number() == number)
    }
}

/// The compressor of a viewer, whose state goes on from one rectangle to the next.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    zrle: Option<Compress>,
    pixels: Vec<u8>,
}

impl Encoder {
    /// Appends a part of what is shown, with its header.
    ///
    /// # Errors
    ///
    /// The compressor failed; the viewer can be sent no more.
    pub(super) fn append(
        &mut self,
        encoding: Encoding,
        format: Format,
        shown: &Shown,
        part: Rect,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        match encoding {
            Encoding::Raw => {
                header(part, encoding.number(), out);
                shown.lines(part, |line| format.append(line, out));
            }
            Encoding::Zrle => {
                self.pixels.clear();
                shown.lines(part, |line| format.append(line, &mut self.pixels));
                let stream = self
                    .zrle
                    .get_or_insert_with(|| Compress::new(Compression::fast(), true));
                let encoded = encode_zrle_persistent(
                    &self.pixels,
                    part.width,
                    part.height,
                    &format.of_library(),
                    stream,
                )?;
                header(part, encoding.number(), out);
                out.extend(encoded);
            }
        }
        Ok(())
    }
}

/// Begins a rectangle of an update.
pub(super) fn header(part: Rect, encoding: i32, out: &mut Vec<u8>) {
    for word in [part.x, part.y, part.width, part.height] {
        out.extend(word.to_be_bytes());
    }
    out.extend(encoding.to_be_bytes());
}
