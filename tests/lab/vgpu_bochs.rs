//! Linux's bochs driver on our vGPU through QEMU's vfio-user-pci: what this machine draws is what
//! `irqbroker vgpu screenshot` shows outside, to the last pixel.

use std::fs;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;

use crate::findings::Findings;
use crate::machine::Machine;
use crate::vgpu;
use crate::vgpu_picture::pixel;
use crate::vgpu_picture::wait_shown;

const DRIVER: &str = "bochs-drm";
/// The driver's console, as memory and as what it tells of itself.
const MEMORY: &str = "/dev/fb0";
const CONSOLE: &str = "/sys/class/graphics/fb0";
/// The connectors of all cards.
const CONNECTORS: &str = "/sys/class/drm";
/// Blue of the pictures.
const DARK: u8 = 0;
const BRIGHT: u8 = 0x80;

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
