//! The text console of this machine on our vGPU, as a person sees it.
//!
//! What is written on it is what `irqbroker vgpu screenshot` and a VNC viewer show outside, to the
//! last pixel.

use std::fs::File;
use std::io::Write;
use std::process::Command;

use anyhow::ensure;

use crate::devices;
use crate::findings::Findings;
use crate::machine::Machine;
use crate::vgpu;
use crate::vgpu::BOCHS;
use crate::vgpu_fbdev::Console;
use crate::vgpu_fbdev::preferred_mode;
use crate::vgpu_picture::Capture;

/// Whose text is on the screen.
const TERMINAL: &str = "/dev/tty1";
/// An empty screen, written from its top left on.
const CLEAR: &[u8] = b"\x1b[2J\x1b[H";
/// In green.
const PROMPT: &str = "\x1b[1;32m# \x1b[0m";
/// Fewer pixels than a line of text has.
const LINE: usize = 500;

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    vgpu::give_to(BOCHS)?;
    let console = Console::new()?;
    let (_, mode) = preferred_mode()?;
    let address = devices::address(vgpu::ID)?.to_string();
    let mut terminal = File::options().write(true).open(TERMINAL)?;
    terminal.write_all(CLEAR)?;
    let commands = [
        "uname -a".to_owned(),
        format!("dmesg | grep -e {address} -e '\\[drm\\]' -e fb0"),
        format!("cat /sys/bus/pci/devices/{address}/uevent"),
        "free -m".to_owned(),
    ];
    for command in &commands {
        writeln!(terminal, "{PROMPT}{command}")?;
        let shell = Command::new("/bin/sh")
            .args(["-c", command])
            .stdout(terminal.try_clone()?)
            .status()?;
        ensure!(shell.success(), "{command}: {shell}");
        writeln!(terminal)?;
    }
    let expected = console.picture(&mode)?;
    let (pixels, _) = expected.rgb().as_chunks();
    let written = pixels.iter().filter(|&&pixel| pixel != [0; 3]).count();
    ensure!(
        written > LINE * commands.len(),
        "{written} pixels are no text"
    );
    let screenshots = Capture::Screenshot.wait_for("console", &expected)?;
    let viewers = Capture::Vnc.wait_for("console-vnc", &expected)?;
    Ok(Findings::default()
        .fact("console", console.name())
        .fact("mode", mode)
        .fact("pixels_of_text", written)
        .fact("screenshots", screenshots)
        .fact("viewers", viewers))
}
