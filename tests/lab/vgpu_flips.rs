//! A program that draws and page-flips through Linux's bochs driver on our vGPU.
//!
//! Of two buffers in turn `irqbroker vgpu screenshot` shows outside the one that was flipped to, and
//! no other.

use anyhow::ensure;

use crate::drm_fd::Card;
use crate::findings::Findings;
use crate::machine::Machine;
use crate::vgpu;
use crate::vgpu::BOCHS;
use crate::vgpu_picture::Capture;
use crate::vgpu_picture::drawn;
use crate::vgpu_picture::pixel;

/// Blue of the picture the mode is set with, and of those that are flipped to: none twice.
const SHADES: [u8; 4] = [0x10, 0x50, 0x90, 0xd0];

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    vgpu::give_to(BOCHS)?;
    let node = vgpu::card()?;
    let mut card = Card::open(&node)?;
    let output = card.output()?;
    let (width, height) = output.mode().size();
    let mode = format!("{width}x{height}");
    let mut front = card.buffer(output.mode())?;
    let mut back = card.buffer(output.mode())?;

    front.draw(|x, y| pixel(x, y, SHADES[0]))?;
    card.set_mode(&output, &front)?;
    let mut screenshots = Capture::Screenshot.wait_for("flip-0", &drawn(&mode, SHADES[0])?)?;
    for (number, shades) in (1..).zip(SHADES.windows(2)) {
        let (before, after) = (shades[0], shades[1]);
        back.draw(|x, y| pixel(x, y, after))?;
        // Drawn is not shown.
        let strange = Capture::Screenshot.look("flip-drawn", &drawn(&mode, before)?)?;
        ensure!(
            strange.is_none(),
            "picture {number} before its flip: {strange:?}"
        );
        card.flip(&output, &back)?;
        let (name, expected) = (format!("flip-{number}"), drawn(&mode, after)?);
        screenshots += 1 + Capture::Screenshot.wait_for(&name, &expected)?;
        std::mem::swap(&mut front, &mut back);
    }
    Ok(Findings::default()
        .fact("driver", BOCHS)
        .fact("card", node.display().to_string())
        .fact("mode", mode)
        .fact("flips", SHADES.len() - 1)
        .fact("screenshots", screenshots))
}
