//! Pictures that are drawn on our vGPU in here and looked at outside, to the last pixel.

use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;
use irqbroker_display::Picture;

use crate::machine::Machine;

/// For the driver to bring to the screen what was drawn, which newer ones do some time later.
const PATIENCE: Duration = Duration::from_secs(20);
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

/// Waits until the machine outside sees this picture in this mode; how often it had to look.
pub(crate) fn wait_shown(mode: &str, name: &str, shade: u8) -> anyhow::Result<u32> {
    let deadline = Instant::now() + PATIENCE;
    let mut looks = 0;
    loop {
        let first = look(mode, name, shade)?;
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

/// What the machine outside sees now, in this mode: the first pixel that is not this picture's.
pub(crate) fn look(mode: &str, name: &str, shade: u8) -> anyhow::Result<Option<(u32, u32)>> {
    let picture = screenshot(name)?;
    let size = format!("{}x{}", picture.width(), picture.height());
    ensure!(size == mode, "{size}, not the preferred {mode}");
    let lines = 0..picture.height();
    let mut pixels = lines.flat_map(|y| (0..picture.width()).map(move |x| (x, y)));
    Ok(pixels.find(|&(x, y)| picture.pixel(x, y) != Some(pixel(x, y, shade))))
}

fn screenshot(name: &str) -> anyhow::Result<Picture> {
    let answer = Machine::ask(&format!("screenshot {name}"))?;
    ensure!(!answer.is_empty(), "no picture outside");
    let pairs = answer.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?));
    let file: Vec<u8> = bytes.collect::<anyhow::Result<_>>()?;
    Ok(Picture::from_png(&file)?)
}
