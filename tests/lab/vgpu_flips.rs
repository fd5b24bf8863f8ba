//! A program that draws and page-flips through Linux's bochs driver on our vGPU: two buffers in turn, of
//! which `irqbroker vgpu screenshot` shows outside the one that was flipped to, and no other.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::ensure;

use crate::devices;
use crate::drm_fd::Card;
use crate::findings::Findings;
use crate::machine::Machine;
use crate::vgpu;
use crate::vgpu_picture::look;
use crate::vgpu_picture::pixel;
use crate::vgpu_picture::wait_shown;

const DRIVER: &str = "bochs-drm";
/// Blue of the picture the mode is set with, and of those that are flipped to: none twice.
const SHADES: [u8; 4] = [0x10, 0x50, 0x90, 0xd0];

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    vgpu::give_to(DRIVER)?;
    let node = node()?;
    let mut card = Card::open(&node)?;
    let output = card.output()?;
    let (width, height) = output.mode().size();
    let mode = format!("{width}x{height}");
    let mut front = card.buffer(output.mode())?;
    let mut back = card.buffer(output.mode())?;

    front.draw(|x, y| pixel(x, y, SHADES[0]))?;
    card.set_mode(&output, &front)?;
    let mut screenshots = wait_shown(&mode, "flip-0", SHADES[0])?;
    for (number, shades) in (1..).zip(SHADES.windows(2)) {
        let (before, after) = (shades[0], shades[1]);
        back.draw(|x, y| pixel(x, y, after))?;
        // Drawn is not shown.
        let strange = look(&mode, "flip-drawn", before)?;
        ensure!(
            strange.is_none(),
            "picture {number} before its flip: {strange:?}"
        );
        card.flip(&output, &back)?;
        screenshots += 1 + wait_shown(&mode, &format!("flip-{number}"), after)?;
        std::mem::swap(&mut front, &mut back);
    }
    Ok(Findings::default()
        .fact("driver", DRIVER)
        .fact("card", node.display().to_string())
        .fact("mode", mode)
        .fact("flips", SHADES.len() - 1)
        .fact("screenshots", screenshots))
}

/// The node of our vGPU's card.
fn node() -> anyhow::Result<PathBuf> {
    let address = devices::address(vgpu::ID)?;
    for entry in fs::read_dir(format!("/sys/bus/pci/devices/{address}/drm"))? {
        let name = entry?.file_name();
        if name.to_string_lossy().starts_with("card") {
            return Ok(Path::new("/dev/dri").join(name));
        }
    }
    None.context("bochs has no card")
}
