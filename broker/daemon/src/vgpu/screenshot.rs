//! What a head of a served vGPU shows, as a file.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use anyhow::bail;
use irqbroker::vgpu::HeadId;
use irqbroker_display::ScreenshotError;
use irqbroker_display::TransportChoice;
use irqbroker_display::whole_screenshot;
use irqbroker_vfio::abi::GfxTransport;
use irqbroker_vfio_user::Client;
use irqbroker_vfio_user::ClientOptions;
use serde::Serialize;

use super::args::ScreenshotArgs;
use super::hosted;
use super::sockets;
use crate::operator::ControlArgs;
use crate::output::Output;

/// How long a picture is taken again and again because another one came meanwhile: thousands of frames.
/// One that takes longer to read than it is shown is none.
const LIMIT: Duration = Duration::from_secs(60);

/// The report of `irqbroker vgpu screenshot`.
#[derive(Debug, Serialize)]
struct Saved {
    file: String,
    head: u8,
    width: u32,
    height: u32,
    /// `region` or `dmabuf`.
    transport: &'static str,
}

/// Takes the picture and writes it.
///
/// # Errors
///
/// Nobody serves the head, it shows nothing, or the file could not be written.
pub(super) fn run(args: &ScreenshotArgs, output: &Output) -> anyhow::Result<()> {
    let socket = sockets::of_head(&server(args)?, HeadId(args.head));
    let client = Client::connect(&socket, ClientOptions::default())?;
    let choice = args.transport.map_or(TransportChoice::Any, |transport| {
        TransportChoice::Only(transport.into())
    });
    let transport = choice
        .probe(&client)
        .map_err(|source| ScreenshotError::Transport { choice, source })?;
    let picture = whole_screenshot(&client, args.head.into(), transport.into(), LIMIT)?;
    std::fs::write(&args.file, picture.to_png()?)
        .with_context(|| format!("cannot write {}", args.file.display()))?;
    output.print(&Saved {
        file: args.file.display().to_string(),
        head: args.head,
        width: picture.width(),
        height: picture.height(),
        transport: match transport {
            GfxTransport::Region => "region",
            GfxTransport::Dmabuf => "dmabuf",
        },
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
            transport,
        } = self;
        writeln!(f, "{file}: head {head}, {width}x{height}, by {transport}")
    }
}
