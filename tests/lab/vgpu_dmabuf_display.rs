//! A display that takes our vGPU's pictures as dma-bufs, beside one that takes them by region.
//!
//! The vGPU is served by another process; what both see is compared with what the guest has drawn.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_core::Wait;
use irqbroker_display::Change;
use irqbroker_display::Display;
use irqbroker_display::Frame;
use irqbroker_display::OpenError;
use irqbroker_display::Picture;
use irqbroker_display::TransportChoice;
use irqbroker_vfio::abi::Errno;
use irqbroker_vfio::abi::GfxTransport;

use crate::command::IRQBROKER;
use crate::command::irqbroker;
use crate::findings::Findings;
use crate::machine::Machine;
use crate::machine::PATIENCE;
use crate::vgpu_dmabuf::HEAD;
use crate::vgpu_dmabuf::HEIGHT;
use crate::vgpu_dmabuf::PAGE_LINE;
use crate::vgpu_dmabuf::SOCKET;
use crate::vgpu_dmabuf::Serving;
use crate::vgpu_dmabuf::WIDTH;
use crate::vgpu_dmabuf::draw;
use crate::vgpu_dmabuf::picture;
use crate::vgpu_dmabuf::set_mode;
use crate::vgpu_dmabuf::show_cursor;
use crate::vgpu_dmabuf::show_line;

/// Each of the guest's two buffers is shown several times.
const FLIPS: u8 = 12;
/// After this one the guest sets its mode, which clears the memory: the buffers are others from there on.
const CLEARED_AFTER: u8 = 6;
const PNG: &str = "/tmp/screenshot.png";

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    let serving = Serving::start()?;
    let guest = serving.connect(SOCKET)?;
    set_mode(&guest)?;
    let mut by_region = display(&serving, GfxTransport::Region)?;
    let mut by_dmabuf = display(&serving, GfxTransport::Dmabuf)?;

    let buffers = [0, PAGE_LINE].into_iter().cycle();
    for (number, line) in (1..=FLIPS).zip(buffers) {
        draw(&guest, line, number)?;
        show_line(&guest, line)?;
        for display in [&mut by_region, &mut by_dmabuf] {
            wait_for(display, number)?;
        }
        ensure!(
            by_region.frame() == by_dmabuf.frame(),
            "two pictures of flip {number}"
        );
        if number == CLEARED_AFTER {
            set_mode(&guest)?;
        }
    }
    show_cursor(&guest)?;
    for display in [&mut by_region, &mut by_dmabuf] {
        while display.cursor().is_none() {
            told(display)?;
        }
    }
    ensure!(by_region.cursor() == by_dmabuf.cursor(), "two cursors");

    for (transport, taken_by) in [
        (Some("dmabuf"), "dmabuf"),
        (Some("region"), "region"),
        (None, "region"),
    ] {
        check_screenshot(transport, taken_by, FLIPS)?;
    }
    Ok(Findings::default()
        .fact("flips", FLIPS)
        .fact("fetches_by_region", by_region.counters().fetches)
        .fact("fetches_by_dmabuf", by_dmabuf.counters().fetches))
}

/// Where no dma-buf can be had: who asks for one is told so, and who does not has the region.
pub(crate) fn refused(serving: &Serving, number: u8) -> anyhow::Result<()> {
    let client = Arc::new(serving.connect(HEAD)?);
    let dmabuf = TransportChoice::Only(GfxTransport::Dmabuf);
    let opened = Display::open_with(Arc::clone(&client) as _, 0, dmabuf);
    ensure!(
        matches!(
            opened,
            Err(OpenError::Transport {
                source: Errno::EINVAL,
                ..
            })
        ),
        "{opened:?}"
    );
    let display = Display::open(client, 0)?;
    ensure!(display.transport() == GfxTransport::Region, "{display:?}");
    drop(display);

    let arguments = arguments(Some("dmabuf"));
    let output = Command::new(IRQBROKER).args(&arguments).output()?;
    let told = String::from_utf8(output.stderr)?;
    ensure!(
        !output.status.success() && told.lines().count() == 1 && told.contains("as dma-bufs"),
        "{}: {told}",
        output.status
    );
    ensure!(!Path::new(PNG).exists(), "a file without a picture");
    check_screenshot(None, "region", number)
}

fn display(serving: &Serving, transport: GfxTransport) -> anyhow::Result<Display> {
    let client = serving.connect(HEAD)?;
    let display = Display::open_with(Arc::new(client), 0, transport.into());
    display.with_context(|| format!("no display by {transport:?}"))
}

/// The next event, with what came of it.
fn told(display: &mut Display) -> anyhow::Result<Change> {
    let before = display.counters().wakeups;
    let change = display.service(Wait::For(PATIENCE))?;
    ensure!(
        display.counters().wakeups > before,
        "no event, by {:?}",
        display.transport()
    );
    Ok(change)
}

/// Until a display has the picture of that number.
fn wait_for(display: &mut Display, number: u8) -> anyhow::Result<()> {
    let expected = picture(number);
    while !display.frame().is_some_and(|frame| is_of(frame, &expected)) {
        let by = display.transport();
        let change = told(display)?;
        // The head is dark while its mode is set; nothing else keeps a picture from being taken.
        ensure!(
            display.trouble().is_none(),
            "picture {number} by {by:?}: {change:?}, {:?}",
            display.trouble()
        );
    }
    Ok(())
}

fn is_of(frame: &Frame, expected: &[u8]) -> bool {
    let lines = (0..frame.height()).flat_map(|y| frame.line(y));
    let bytes: Vec<u8> = lines.flat_map(|pixel| pixel.to_le_bytes()).collect();
    (frame.width(), frame.height()) == (WIDTH, HEIGHT) && bytes == expected
}

fn arguments(transport: Option<&'static str>) -> Vec<&'static str> {
    let chosen = transport.map(|transport| ["--transport", transport]);
    ["vgpu", "screenshot", "--socket", SOCKET, PNG]
        .into_iter()
        .chain(chosen.into_iter().flatten())
        .collect()
}

/// Our command takes the picture of that number, and says by what.
fn check_screenshot(
    transport: Option<&'static str>,
    taken_by: &str,
    number: u8,
) -> anyhow::Result<()> {
    let report = irqbroker(&arguments(transport))?;
    ensure!(report["transport"] == taken_by, "{report}");
    let saved = Picture::from_png(&std::fs::read(PNG)?)?;
    std::fs::remove_file(PNG)?;
    let pixels = picture(number);
    let pixels = pixels.chunks_exact(4);
    let rgb = pixels.flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]);
    let drawn = Picture::new(WIDTH.into(), HEIGHT.into(), rgb.collect());
    ensure!(
        drawn.as_ref() == Some(&saved),
        "the screenshot by {taken_by} is not picture {number}"
    );
    Ok(())
}
