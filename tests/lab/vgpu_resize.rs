//! A viewer that asks for another size, and Linux's bochs driver, whose monitor is another from then on.
//!
//! The EDID that the driver finds is the one that was written, to the last byte; a program sets the mode
//! that it prefers, and the viewers outside are told of the new size.

use std::fs;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker_vfio::abi::Edid;

use crate::drm_fd::Card;
use crate::findings::Findings;
use crate::machine::Machine;
use crate::machine::PATIENCE;
use crate::vgpu;
use crate::vgpu::BOCHS;
use crate::vgpu_fbdev::connector_folder;
use crate::vgpu_fbdev::preferred_mode;
use crate::vgpu_picture::Capture;
use crate::vgpu_picture::drawn;
use crate::vgpu_picture::pixel;

/// Smaller than the type's, and none that a driver has in a list.
const WISH: (u16, u16) = (1368, 776);
/// More than the type has.
const TOO_LARGE: &str = "1928x776";
/// Blue of the picture.
const SHADE: u8 = 0x40;

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    vgpu::give_to(BOCHS)?;
    let (connector, before) = preferred_mode()?;
    let first = found(&connector)?;
    let told = first.preferred().context("no preferred mode")?;
    ensure!(
        told == size(&before)?,
        "the edid prefers {told:?}, not {before}"
    );
    // It stays connected, and is told of the size later.
    Capture::Viewer.take("viewer-resize-before")?;

    let refused = Machine::ask(&format!("resize {TOO_LARGE}"))?;
    ensure!(refused == "InvalidLayout", "too large a size: {refused:?}");
    let wish = format!("{}x{}", WISH.0, WISH.1);
    let answer = Machine::ask(&format!("resize {wish}"))?;
    ensure!(answer == "Forwarded", "the wish: {answer:?}");

    let expected = first.preferring(WISH.0, WISH.1, Edid::MAX_LEN)?;
    let folder = connector_folder(&connector);
    fs::write(folder.join("status"), "detect")?;
    // Older drivers read the EDID when they find the device, and at no other time.
    let reread = if found(&connector)? == expected {
        "detect"
    } else {
        vgpu::probe_again(BOCHS)?;
        "probe"
    };
    let (connector, mode) = preferred_mode()?;
    ensure!(mode == wish, "the driver prefers {mode}, not {wish}");
    ensure!(
        found(&connector)? == expected,
        "the driver has another edid"
    );
    let modes = fs::read_to_string(connector_folder(&connector).join("modes"))?;
    ensure!(
        modes.lines().any(|other| other == before),
        "{before} is no mode any more"
    );

    let card = Card::open(&vgpu::card()?)?;
    let output = card.output()?;
    let set = output.mode().size();
    ensure!(set == (WISH.0.into(), WISH.1.into()), "a mode of {set:?}");
    let mut buffer = card.buffer(output.mode())?;
    buffer.draw(|x, y| pixel(x, y, SHADE))?;
    card.set_mode(&output, &buffer)?;
    let looks = wait_for_size("viewer-resize", set)?;
    let picture = drawn(&wish, SHADE)?;
    let looks = looks + Capture::Viewer.wait_for("viewer-resize", &picture)?;
    Capture::Vnc.wait_for("vnc-resize", &picture)?;
    let again = Machine::ask(&format!("resize {wish}"))?;
    ensure!(again == "Success", "the size there is: {again:?}");
    Ok(Findings::default()
        .fact("driver", BOCHS)
        .fact("mode_before", before)
        .fact("mode", mode)
        .fact("edid_bytes", expected.as_bytes().len())
        .fact("reread", reread)
        .fact("looks_of_one_viewer", looks))
}

/// The EDID that the driver has.
fn found(connector: &str) -> anyhow::Result<Edid> {
    let bytes = fs::read(connector_folder(connector).join("edid"))?;
    Ok(Edid::parse(&bytes)?)
}

fn size(mode: &str) -> anyhow::Result<(u16, u16)> {
    let (width, height) = crate::vgpu_picture::size(mode)?;
    Ok((width.try_into()?, height.try_into()?))
}

/// Waits until the viewer that stays has been told of this size; how often it had to look.
fn wait_for_size(name: &str, size: (u32, u32)) -> anyhow::Result<u32> {
    let deadline = Instant::now() + PATIENCE;
    let mut looks = 0;
    loop {
        let picture = Capture::Viewer.take(name)?;
        looks += 1;
        if (picture.width(), picture.height()) == size {
            return Ok(looks);
        }
        if Instant::now() > deadline {
            bail!(
                "the viewer still sees {}x{}",
                picture.width(),
                picture.height()
            );
        }
    }
}
