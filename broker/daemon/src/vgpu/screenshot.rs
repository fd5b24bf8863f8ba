//! What a head of a served vGPU shows, as a file.

use std::fmt;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::bail;
use irqbroker::vgpu::HeadId;
use irqbroker_display::screenshot;
use irqbroker_vfio_user::Client;
use serde::Serialize;

use super::args::ScreenshotArgs;
use super::hosted;
use super::sockets;
use crate::operator::ControlArgs;
use crate::output::Output;
use crate::vfio::patient;

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
    let socket = sockets::of_head(&server(args)?, HeadId(args.head));
    let client = Client::connect(&socket, patient())?;
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

/// The socket of the vGPU that is meant.
fn server(args: &ScreenshotArgs) -> anyhow::Result<PathBuf> {
    match (&args.socket, &args.id) {
        (Some(socket), _) => Ok(socket.clone()),
        (None, Some(id)) => {
            let daemon = ControlArgs::at(args.control.clone());
            Ok(hosted::find(&mut daemon.look()?, id)?.socket.into())
        }
        (None, None) => bail!("give --socket or --id"),
    }
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
