//! The console that Linux's bochs driver makes of our vGPU.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker_display::Picture;

use crate::vgpu_picture::size;

/// As memory, and as what it tells of itself.
const MEMORY: &str = "/dev/fb0";
const CONSOLE: &str = "/sys/class/graphics/fb0";
/// The connectors of all cards.
const CONNECTORS: &str = "/sys/class/drm";

/// The driver's console.
#[derive(Debug)]
pub(crate) struct Console {
    name: String,
    /// Bytes from line to line.
    stride: usize,
    /// Lines of its memory.
    height: usize,
}

impl Console {
    pub(crate) fn new() -> anyhow::Result<Self> {
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

    /// What the driver calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Fills its memory, to the end of the last line: red, green and blue of each pixel.
    pub(crate) fn draw(&self, pixel: impl Fn(u32, u32) -> [u8; 3]) -> anyhow::Result<()> {
        let lines = (0..).take(self.height);
        let pixels = lines.flat_map(|y| (0..).take(self.stride / 4).map(move |x| (x, y)));
        let bytes = pixels.flat_map(|(x, y)| {
            let [red, green, blue] = pixel(x, y);
            [blue, green, red, 0]
        });
        Ok(fs::write(MEMORY, bytes.collect::<Vec<u8>>())?)
    }

    /// What its memory has of a mode.
    pub(crate) fn picture(&self, mode: &str) -> anyhow::Result<Picture> {
        let (width, height) = size(mode)?;
        let bytes = fs::read(MEMORY)?;
        let (pixels, _) = bytes.as_chunks();
        let lines = pixels.chunks(self.stride / 4).take(height.try_into()?);
        let shown = lines.flat_map(|line| line.iter().zip(0..width));
        let rgb = shown.flat_map(|(&[blue, green, red, _], _)| [red, green, blue]);
        Picture::new(width, height, rgb.collect()).context("its memory is too small")
    }
}

/// Where the kernel tells of a connector.
pub(crate) fn connector_folder(connector: &str) -> PathBuf {
    Path::new(CONNECTORS).join(connector)
}

/// A connector with a monitor, and that one's preferred mode.
pub(crate) fn preferred_mode() -> anyhow::Result<(String, String)> {
    for entry in fs::read_dir(CONNECTORS)? {
        let connector = entry?.path();
        let modes = fs::read_to_string(connector.join("modes")).unwrap_or_default();
        if let (Some(mode), Some(name)) = (modes.lines().next(), connector.file_name()) {
            return Ok((name.to_string_lossy().into_owned(), mode.to_owned()));
        }
    }
    bail!("no monitor")
}
