//! Pictures that are drawn on our vGPU in here and looked at outside, to the last pixel.

use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker_display::Picture;

use crate::machine::Machine;
use crate::machine::PATIENCE;

/// Pixels of a side of the squares that are drawn.
const SQUARE: u32 = 64;

/// What is drawn: squares of which no two in a line or a row are the same, with a line across them, so that
/// a picture moved by one pixel, or with swapped colours, is another.
pub(crate) fn pixel(x: u32, y: u32, shade: u8) -> [u8; 3] {
    let low = |value: u32| value.to_le_bytes()[0];
    let (column, row) = (x / SQUARE, y / SQUARE);
    match x == y {
        true => [0xff, shade, 0x40],
        false => [low(column * 8), low(row * 12), shade],
    }
}

/// Pixels and lines of a mode as the kernel writes it.
pub(crate) fn size(mode: &str) -> anyhow::Result<(u32, u32)> {
    let (width, height) = mode.split_once('x').context("no mode")?;
    Ok((width.parse()?, height.parse()?))
}

/// The whole of it, in a mode.
pub(crate) fn drawn(mode: &str, shade: u8) -> anyhow::Result<Picture> {
    let (width, height) = size(mode)?;
    let lines = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let rgb = lines.flat_map(|(x, y)| pixel(x, y, shade)).collect();
    Picture::new(width, height, rgb).context("too large")
}

/// How the machine outside looks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Capture {
    /// By `irqbroker vgpu screenshot`.
    Screenshot,
    /// By a VNC viewer that connects and leaves.
    Vnc,
    /// By a VNC viewer that stays, and is told what changes.
    Viewer,
}

impl Capture {
    /// What it sees now, which it keeps in a file of this name.
    pub(crate) fn take(self, name: &str) -> anyhow::Result<Picture> {
        let question = match self {
            Self::Screenshot => "screenshot",
            Self::Vnc => "vnc",
            Self::Viewer => "viewer",
        };
        let answer = Machine::ask(&format!("{question} {name}"))?;
        ensure!(!answer.is_empty(), "{question}: no picture outside");
        let pairs = answer.as_bytes().chunks(2);
        let bytes = pairs.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?));
        let file: Vec<u8> = bytes.collect::<anyhow::Result<_>>()?;
        Ok(Picture::from_png(&file)?)
    }

    /// Waits until it sees this picture, as newer drivers bring to the screen some time later what was drawn; how
    /// often it had to look.
    pub(crate) fn wait_for(self, name: &str, expected: &Picture) -> anyhow::Result<u32> {
        let deadline = Instant::now() + PATIENCE;
        let mut looks = 0;
        loop {
            let first = self.look(name, expected)?;
            looks += 1;
            match first {
                None => return Ok(looks),
                Some((x, y)) if Instant::now() > deadline => {
                    bail!("{name}: not what was drawn, first at {x},{y}")
                }
                Some(_) => {}
            }
        }
    }

    /// Looks once: the first pixel that is not this picture's.
    pub(crate) fn look(self, name: &str, expected: &Picture) -> anyhow::Result<Option<(u32, u32)>> {
        let picture = self.take(name)?;
        let [seen, size] = [&picture, expected].map(|of| (of.width(), of.height()));
        ensure!(seen == size, "{seen:?}, not the preferred {size:?}");
        let lines = 0..size.1;
        let mut pixels = lines.flat_map(|y| (0..size.0).map(move |x| (x, y)));
        Ok(pixels.find(|&(x, y)| picture.pixel(x, y) != expected.pixel(x, y)))
    }
}
