//! What a head of a served vGPU shows, as a file.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use anyhow::bail;
use irqbroker::vgpu::HeadId;
use irqbroker_display::Picture;
use irqbroker_display::ScreenshotError;
use irqbroker_display::TransportChoice;
use irqbroker_display::whole_screenshot;
use irqbroker_vfio::abi::Errno;
use irqbroker_vfio::abi::GfxTransport;
use irqbroker_vfio_user::Client;
use irqbroker_vfio_user::ClientOptions;
use rustix::io::Errno as HostErrno;
use serde::Serialize;

use super::args::ScreenshotArgs;
use super::hosted;
use super::sockets;
use crate::operator::ControlArgs;
use crate::output::Output;

/// How long a picture is taken again and again because another one came meanwhile: thousands of frames.
/// One that takes longer to read than it is shown is none.
const LIMIT: Duration = Duration::from_secs(60);
/// How long each answer may take: a thousand times what it does on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

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
    let server = server(args)?;
    let choice = args.transport.map_or(TransportChoice::Any, |transport| {
        TransportChoice::Only(transport.into())
    });
    let (picture, transport) =
        picture(&server, HeadId(args.head), choice).map_err(|error| told(error, &server))?;
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

/// What the head of this vGPU shows, and how it handed that out.
fn picture(
    server: &Path,
    head: HeadId,
    choice: TransportChoice,
) -> anyhow::Result<(Picture, GfxTransport)> {
    let socket = sockets::of_head(server, head);
    let is_there = |head| sockets::of_head(server, HeadId(head)).exists();
    if !socket.exists() && is_there(0) {
        let last = (0..head.0).rev().find(|&head| is_there(head));
        let last = last.unwrap_or_default();
        bail!(
            "the vgpu at {} has no head {head}; the last is {last}",
            server.display()
        );
    }
    let options = ClientOptions {
        timeout: ANSWER_LIMIT,
        ..ClientOptions::default()
    };
    let client = Client::connect(&socket, options)?;
    let transport = choice
        .probe(&client)
        .map_err(|source| ScreenshotError::Transport { choice, source })?;
    let picture = whole_screenshot(&client, head.0.into(), transport.into(), LIMIT)?;
    Ok((picture, transport))
}

/// Says of a server that keeps silent that it does.
fn told(error: anyhow::Error, server: &Path) -> anyhow::Error {
    let is_silence = |cause: &(dyn Error + 'static)| {
        // It does not answer, or does not even accept.
        cause.downcast_ref() == Some(&Errno::ETIMEDOUT)
            || cause.downcast_ref() == Some(&HostErrno::AGAIN)
    };
    match error.chain().any(is_silence) {
        true => error.context(format!(
            "the vgpu at {} does not answer; it is stopped or hangs",
            server.display()
        )),
        false => error,
    }
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
