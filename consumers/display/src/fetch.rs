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
        let surface = surface.mapped(&mut self.mapping);
        let size = (plane.width, plane.height);
        let known = frame
            .take()
            .filter(|frame| (frame.width(), frame.height()) == size);
        let replaced = known.is_none();
        let known = known.unwrap_or_else(|| Arc::new(Frame::black(size.0, size.1)));
        let known = frame.insert(known);
        let mut damage = Damage::none(size.0, size.1);
        for_each_line(&mut self.bytes, &surface, &plane, |y, bytes| {
            update(known, y, bytes, plane.layout, &mut damage);
        })?;
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
    let at_once = u16::try_from(surface.at_once() / stride)
        .unwrap_or(u16::MAX)
        .max(1);
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

/// Takes over a line, and marks the tiles in which it differs. Each tile is converted and compared at
/// once: it never leaves the first cache, and one that is as it was is not written.
fn update(frame: &mut Arc<Frame>, y: u16, line: &[u8], layout: Layout, damage: &mut Damage) {
    let mut words = [0; TILE];
    let tiles = || line.chunks(TILE * layout.bytes());
    let known = frame.line(y).chunks(TILE);
    let first = tiles().zip(known).position(|(bytes, known)| {
        let words = &mut words[..known.len()];
        layout.words(bytes, words);
        words != known
    });
    let Some(first) = first else {
        return;
    };
    // A viewer that is still being sent the frame before keeps it, and this becomes another.
    let known = Arc::make_mut(frame).line_mut(y).chunks_mut(TILE);
    let tiles = (0..).step_by(TILE).zip(tiles().zip(known));
    for (x, (bytes, known)) in tiles.skip(first) {
        let words = &mut words[..known.len()];
        layout.words(bytes, words);
        if words != known {
            known.copy_from_slice(words);
            damage.mark_tile(x, y);
        }
    }
}

fn has_alpha(format: u32) -> bool {
    matches!(&format.to_le_bytes(), b"AR24" | b"AB24")
}
