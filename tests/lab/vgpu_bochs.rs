//! Linux's bochs driver on our vGPU through QEMU's vfio-user-pci: what this machine draws is what
//! `irqbroker vgpu screenshot` shows outside, to the last pixel.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker_display::Picture;

use crate::findings::Findings;
use crate::machine::Machine;
use crate::vgpu;

const DRIVER: &str = "bochs-drm";
/// The driver's console, as memory and as what it tells of itself.
const MEMORY: &str = "/dev/fb0";
const CONSOLE: &str = "/sys/class/graphics/fb0";
/// The connectors of all cards.
const CONNECTORS: &str = "/sys/class/drm";
/// For the driver to bring to the screen what was drawn, which newer ones do some time later.
const PATIENCE: Duration = Duration::from_secs(20);
/// Blue of the pictures.
const DARK: u8 = 0;
const BRIGHT: u8 = 0x80;
/// Pixels of a side of the squares that are drawn.
const SQUARE: u32 = 64;

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    vgpu::give_to(DRIVER)?;
    let console = Console::new()?;
    let (connector, mode) = preferred_mode()?;
    let mut screenshots = 0;
    // A picture that stayed the first would show that nothing comes after the mode.
    for (name, shade) in [("bochs-first", DARK), ("bochs-second", BRIGHT)] {
        console.draw(shade)?;
        screenshots += wait_shown(&mode, name, shade)?;
    }
    Ok(Findings::default()
        .fact("driver", DRIVER)
        .fact("console", console.name)
        .fact("connector", connector)
        .fact("mode", mode)
        .fact("pictures", 2)
        .fact("screenshots", screenshots))
}

/// The driver's console.
#[derive(Debug)]
struct Console {
    name: String,
    /// Bytes from line to line.
    stride: usize,
    /// Lines of its memory.
    height: usize,
}

impl Console {
    fn new() -> anyhow::Result<Self> {
        let told = |file: &str| {
            let path = format!("{CONSOLE}/{file}");
            let text = fs::read_to_string(&path).context(path)?;
            anyhow::Ok(text.trim().to_owned())
        };
        ensure!(told("bits_per_pixel")? == "32", "not 32 bits a pixel");
        let size = told("virtual_size")?;
        let (_, height) = size.split_once(',').context("no size")?;
        Ok(Self {
            name: told("name")?,
            stride: told("stride")?.parse()?,
            height: height.parse()?,
        })
    }

    /// Fills its memory, to the end of the last line, with a picture.
    fn draw(&self, shade: u8) -> anyhow::Result<()> {
        let lines = (0..).take(self.height);
        let pixels = lines.flat_map(|y| (0..).take(self.stride / 4).map(move |x| (x, y)));
        let bytes = pixels.flat_map(|(x, y)| {
            let [red, green, blue] = pixel(x, y, shade);
            [blue, green, red, 0]
        });
        Ok(fs::write(MEMORY, bytes.collect::<Vec<u8>>())?)
    }
}

/// Waits until the machine outside sees this picture in this mode; how often it had to look.
fn wait_shown(mode: &str, name: &str, shade: u8) -> anyhow::Result<u32> {
    let deadline = Instant::now() + PATIENCE;
    let mut looks = 0;
    loop {
        let picture = screenshot(name)?;
        looks += 1;
        let size = format!("{}x{}", picture.width(), picture.height());
        ensure!(size == mode, "{size}, not the preferred {mode}");
        match difference(&picture, shade) {
            None => return Ok(looks),
            Some((x, y)) if Instant::now() > deadline => {
                bail!("{name}: not what was drawn, first at {x},{y}")
            }
            Some(_) => {}
        }
    }
}

/// A connector with a monitor, and that one's preferred mode.
fn preferred_mode() -> anyhow::Result<(String, String)> {
    for entry in fs::read_dir(CONNECTORS)? {
        let connector = entry?.path();
        let modes = fs::read_to_string(connector.join("modes")).unwrap_or_default();
        if let (Some(mode), Some(name)) = (modes.lines().next(), connector.file_name()) {
            return Ok((name.to_string_lossy().into_owned(), mode.to_owned()));
        }
    }
    bail!("no monitor")
}

/// What the machine outside sees.
fn screenshot(name: &str) -> anyhow::Result<Picture> {
    let answer = Machine::ask(&format!("screenshot {name}"))?;
    ensure!(!answer.is_empty(), "no picture outside");
    let pairs = answer.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?));
    let file: Vec<u8> = bytes.collect::<anyhow::Result<_>>()?;
    Ok(Picture::from_png(&file)?)
}

/// The first pixel that is not as it was drawn.
fn difference(picture: &Picture, shade: u8) -> Option<(u32, u32)> {
    let lines = 0..picture.height();
    let mut pixels = lines.flat_map(|y| (0..picture.width()).map(move |x| (x, y)));
    pixels.find(|&(x, y)| picture.pixel(x, y) != Some(pixel(x, y, shade)))
}

/// What is drawn: squares of which no two in a line or a row are the same, with a line across them, so that
/// a picture moved by one pixel, or with swapped colours, is another.
fn pixel(x: u32, y: u32, shade: u8) -> [u8; 3] {
    let low = |value: u32| value.to_le_bytes()[0];
    let (column, row) = (x / SQUARE, y / SQUARE);
    match x == y {
        true => [0xff, shade, 0x40],
        false => [low(column * 8), low(row * 12), shade],
    }
}
