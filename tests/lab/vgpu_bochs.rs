//! Linux's bochs driver on our vGPU through QEMU's vfio-user-pci.
//!
//! What this machine draws is what `irqbroker vgpu screenshot` shows outside, to the last pixel.

use crate::findings::Findings;
use crate::machine::Machine;
use crate::vgpu;
use crate::vgpu::BOCHS;
use crate::vgpu_fbdev::Console;
use crate::vgpu_fbdev::preferred_mode;
use crate::vgpu_picture::Capture;
use crate::vgpu_picture::drawn;
use crate::vgpu_picture::pixel;

/// Blue of the pictures.
const DARK: u8 = 0;
const BRIGHT: u8 = 0x80;

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    vgpu::give_to(BOCHS)?;
    let console = Console::new()?;
    let (connector, mode) = preferred_mode()?;
    let mut screenshots = 0;
    // A picture that stayed the first would show that nothing comes after the mode.
    for (name, shade) in [("bochs-first", DARK), ("bochs-second", BRIGHT)] {
        console.draw(|x, y| pixel(x, y, shade))?;
        screenshots += Capture::Screenshot.wait_for(name, &drawn(&mode, shade)?)?;
    }
    Ok(Findings::default()
        .fact("driver", BOCHS)
        .fact("console", console.name())
        .fact("connector", connector)
        .fact("mode", mode)
        .fact("pictures", 2)
        .fact("screenshots", screenshots))
}
