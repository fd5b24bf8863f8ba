//! Reading what a plane shows, and finding what is new in it.

use std::sync::Arc;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::PlaneType;

use crate::cursor::CURSOR_SIDE_MAX;
use crate::cursor::Cursor;
use crate::cursor::CursorShape;
use crate::damage::Damage;
use crate::damage::TILE_WIDTH;
use crate::frame::Frame;
use crate::mapping_fd::Mapping;
use crate::pixels::Layout;
use crate::plane::Plane;
use crate::screenshot_error::ScreenshotError;
use crate::source::Shown;
use crate::source::Source;
use crate::surface::REQUEST;
use crate::surface::Surface;

/// Pixels of a tile's line.
const TILE: usize = TILE_WIDTH as usize;

/// What came of reading the primary plane.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// The plane shows nothing.
    Nothing,
    /// A picture of another size than before; the frame is it.
    Replaced,
    /// This is new in the frame.
    Drawn(Damage),
}

/// Reads planes; keeps its buffers from one time to the next.
#[derive(Debug)]
pub(crate) struct Fetcher {
    pub(crate) source: Source,
    bytes: Vec<u8>,
    line: Vec<u32>,
    /// Of the file of the primary plane's region: a guest's buffers are all in one.
    pub(crate) mapping: Option<Mapping>,
}

impl Fetcher {
    pub(crate) const fn new(source: Source) -> Self {
        Self {
            source,
            bytes: Vec::new(),
            line: Vec::new(),
            mapping: None,
        }
    }

    /// Brings `frame` up to what the primary plane shows. After an error it may be half of each.
    pub(crate) fn primary(
        &mut self,
        device: &dyn Device,
        frame: &mut Option<Arc<Frame>>,
    ) -> Result<Fetched, ScreenshotError> {
        let shown = self.source.shown(device, PlaneType::PRIMARY)?;
        let Some(Shown { plane, surface, .. }) = shown else {
            return Ok(Fetched::Nothing);
        };
        let size = (plane.width, plane.height);
        let known = frame
            .take()
            .filter(|frame| (frame.width(), frame.height()) == size);
        let replaced = known.is_none();
        let known = known.unwrap_or_else(|| Arc::new(Frame::black(size.0, size.1)));
        let known = frame.insert(known);
        let mut damage = Damage::none(size.0, size.1);
        let pixel = plane.layout.bytes();
        if let Some(memory) = surface.mapped(&mut self.mapping) {
            for y in 0..plane.height {
                let line = memory
                    .line(plane.line_offset(y), plane.line_len())
                    .ok_or(ScreenshotError::Short { line: y.into() })?;
                let mut bytes = [0; TILE * Layout::BYTES_MAX];
                let words = |x: u16, words: &mut [u32]| {
                    let tile = &mut bytes[..words.len() * pixel];
                    line.read(usize::from(x) * pixel, tile);
                    plane.layout.words(tile, words);
                };
                update(known, y, words, &mut damage);
            }
        } else {
            for_each_line(&mut self.bytes, &surface, &plane, |y, bytes| {
                let words = |x: u16, words: &mut [u32]| {
                    plane.layout.words(&bytes[usize::from(x) * pixel..], words);
                };
                update(known, y, words, &mut damage);
            })?;
        }
        Ok(if replaced {
            Fetched::Replaced
        } else {
            Fetched::Drawn(damage)
        })
    }

    /// What the cursor plane shows; none if it shows nothing or there is no such plane.
    pub(crate) fn cursor(
        &mut self,
        device: &dyn Device,
    ) -> Result<Option<Cursor>, ScreenshotError> {
        let shown = match self.source.shown(device, PlaneType::CURSOR) {
            // A driver without this plane says so by an error.
            Err(ScreenshotError::Query { .. }) => None,
            shown => shown?,
        };
        let Some(Shown {
            info,
            plane,
            surface,
        }) = shown
        else {
            return Ok(None);
        };
        if plane.width > CURSOR_SIDE_MAX || plane.height > CURSOR_SIDE_MAX {
            return Err(plane.size_error());
        }
        let mut argb = Vec::with_capacity(usize::from(plane.width) * usize::from(plane.height));
        let alpha = has_alpha(info.format);
        for_each_line(&mut self.bytes, &surface, &plane, |_, bytes| {
            self.line.resize(plane.width.into(), 0);
            plane.layout.words(bytes, &mut self.line);
            let opacity = bytes.chunks_exact(plane.layout.bytes()).map(|pixel| {
                // Both formats with alpha have it last.
                let last = pixel.last().copied().unwrap_or(u8::MAX);
                if alpha { last } else { u8::MAX }
            });
            let pixels = self.line.iter().zip(opacity);
            argb.extend(pixels.map(|(pixel, alpha)| pixel | u32::from(alpha) << 24));
        })?;
        let (x_hot, y_hot) = info.hotspot().unwrap_or_default();
        let within = |hot: u32, side: u16| u16::try_from(hot).unwrap_or(side).min(side - 1);
        Ok(Some(Cursor {
            shape: Arc::new(CursorShape {
                width: plane.width,
                height: plane.height,
                x_hot: within(x_hot, plane.width),
                y_hot: within(y_hot, plane.height),
                argb,
            }),
            x: info.x_pos.cast_signed(),
            y: info.y_pos.cast_signed(),
        }))
    }
}

/// Reads a picture's lines from the top, as many at once as fit.
pub(crate) fn for_each_line(
    bytes: &mut Vec<u8>,
    surface: &Surface<'_>,
    plane: &Plane,
    mut line: impl FnMut(u16, &[u8]),
) -> Result<(), ScreenshotError> {
    let len = plane.line_len();
    let stride = usize::try_from(plane.stride).unwrap_or(usize::MAX);
    let at_once = u16::try_from(REQUEST / stride).unwrap_or(u16::MAX).max(1);
    let mut y = 0;
    while y < plane.height {
        let lines = at_once.min(plane.height - y);
        // What is between the last line and the next is not read.
        let wanted = usize::from(lines - 1) * stride + len;
        bytes.resize(wanted, 0);
        let count = surface
            .read(plane.line_offset(y), bytes)
            .map_err(|source| ScreenshotError::Read {
                line: y.into(),
                source,
            })?;
        for (at, pixels) in (y..).zip(bytes.chunks(stride)) {
            if count < usize::from(at - y) * stride + len {
                return Err(ScreenshotError::Short { line: at.into() });
            }
            line(at, &pixels[..len]);
        }
        y += lines;
    }
    Ok(())
}

/// Takes over a line, and marks the tiles in which it differs. `words` reads pixels from a place in the
/// line on.
fn update(
    frame: &mut Arc<Frame>,
    y: u16,
    mut words: impl FnMut(u16, &mut [u32]),
    damage: &mut Damage,
) {
    // A viewer that is still being sent the frame before keeps it, and this becomes another one.
    if Arc::get_mut(frame).is_none() && is_line(frame.line(y), &mut words) {
        return;
    }
    let known = Arc::make_mut(frame).line_mut(y).chunks_mut(TILE);
    for (x, known) in (0..).step_by(TILE).zip(known) {
        let words = |line: &mut [u32]| words(x, line);
        // The common case by its length, for which the compiler makes loops of its own.
        let differs = match <&mut [u32; TILE]>::try_from(&mut *known) {
            Ok(known) => renew(known, words),
            Err(_) => renew(known, words),
        };
        if differs {
            damage.mark_tile(x, y);
        }
    }
}

/// Whether these are the pixels of a line.
fn is_line(known: &[u32], mut words: impl FnMut(u16, &mut [u32])) -> bool {
    let mut line = [0; TILE];
    let mut tiles = (0..).step_by(TILE).zip(known.chunks(TILE));
    tiles.all(|(x, known)| {
        let line = &mut line[..known.len()];
        words(x, line);
        line == known
    })
}

/// Reads a tile's line, and stores it if it differs from what is known: both come from memory side by
/// side, and what is as it was is not written.
#[inline]
fn renew(known: &mut [u32], words: impl FnOnce(&mut [u32])) -> bool {
    let mut line = [0; TILE];
    let line = &mut line[..known.len()];
    words(line);
    let differs = line != known;
    if differs {
        known.copy_from_slice(line);
    }
    differs
}

fn has_alpha(format: u32) -> bool {
    matches!(&format.to_le_bytes(), b"AR24" | b"AB24")
}
