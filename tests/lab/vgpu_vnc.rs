//! The flips of a program on bochs' card, over VNC.
//!
//! What is drawn is what a viewer that connects sees, and one that stays is told of each flip.

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
const SHADES: [u8; 3] = [0x20, 0x60, 0xa0];

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    vgpu::give_to(BOCHS)?;
    let mut card = Card::open(&vgpu::card()?)?;
    let output = card.output()?;
    let (width, height) = output.mode().size();
    let mode = format!("{width}x{height}");
    let mut front = card.buffer(output.mode())?;
    let mut back = card.buffer(output.mode())?;

    let first = drawn(&mode, SHADES[0])?;
    front.draw(|x, y| pixel(x, y, SHADES[0]))?;
    card.set_mode(&output, &front)?;
    let mut viewers = Capture::Vnc.wait_for("vnc-0", &first)?;
    let screenshot = Capture::Screenshot.look("vnc-screenshot", &first)?;
    ensure!(
        screenshot.is_none(),
        "the screenshot is another picture: {screenshot:?}"
    );
    let mut looks = Capture::Viewer.wait_for("viewer-0", &first)?;
    for (number, shades) in (1..).zip(SHADES.windows(2)) {
        let (before, after) = (drawn(&mode, shades[0])?, drawn(&mode, shades[1])?);
        back.draw(|x, y| pixel(x, y, shades[1]))?;
        // Drawn is not shown.
        let strange = Capture::Viewer.look("viewer-drawn", &before)?;
        ensure!(
            strange.is_none(),
            "picture {number} before its flip: {strange:?}"
        );
        card.flip(&output, &back)?;
        looks += 1 + Capture::Viewer.wait_for(&format!("viewer-{number}"), &after)?;
        viewers += Capture::Vnc.wait_for(&format!("vnc-{number}"), &after)?;
        std::mem::swap(&mut front, &mut back);
    }
    Ok(Findings::default()
        .fact("driver", BOCHS)
        .fact("mode", mode)
        .fact("flips", SHADES.len() - 1)
        .fact("viewers", viewers)
        .fact("looks_of_one_viewer", looks))
}
