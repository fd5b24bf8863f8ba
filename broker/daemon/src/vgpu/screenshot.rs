//! What a head of a served vGPU shows, as a file.

use std::fmt;

use anyhow::Context;
use irqbroker::vgpu::HeadId;
use irqbroker_display::screenshot;
use irqbroker_vfio_user::Client;
use irqbroker_vfio_user::ClientOptions;
use serde::Serialize;

use super::args::ScreenshotArgs;
use super::sockets;
use crate::output::Output;

/// The report of `irqbroker vgpu screenshot`.
#[derive(Debug, Serialize)]
struct Saved {
    file: String,
    head: u8,
    width: u32,
    height: u32,
}

/// Takes the picture and writes it.
///
/// # Errors
///
/// Nobody serves the head, it shows nothing, or the file could not be written.
pub(super) fn run(args: &ScreenshotArgs, output: &Output) -> anyhow::Result<()> {
    let socket = sockets::of_head(&args.socket, HeadId(args.head));
    let client = Client::connect(&socket, ClientOptions::default())?;
    let picture = screenshot(&client)?;
    std::fs::write(&args.file, picture.to_png()?)
        .with_context(|| format!("cannot write {}", args.file.display()))?;
    output.print(&Saved {
        file: args.file.display().to_string(),
        head: args.head,
        width: picture.width(),
        height: picture.height(),
    })
}

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            head,
            width,
            height,
        } = self;
        writeln!(f, "{file}: head {head}, {width}x{height}")
    }
}
