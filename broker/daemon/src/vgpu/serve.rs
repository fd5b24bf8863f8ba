//! One vGPU on a vfio-user socket: no daemon, one process, one client at a time.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use irqbroker::vgpu::Granularity;
use irqbroker::vgpu::HeadId;
use irqbroker::vgpu::VblankScheduler;
use irqbroker::vgpu::VgpuDevice;
use irqbroker::vgpu::VgpuParent;
use irqbroker_display::Display;
use irqbroker_vfio_user::Server;
use irqbroker_vfio_user::ServerOptions;
use irqbroker_vfio_user::ServerState;
use irqbroker_vfio_user::ServiceError;
use irqbroker_vfio_user::Wait;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;
use serde::Serialize;
use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGTERM;
use signal_hook::low_level::pipe;

use super::args::ServeArgs;
use super::place::Place;
use super::sockets;
use super::views::Views;
use super::vnc;
use super::vnc::Vnc;
use crate::output::Output;

/// How long nothing is tried again that has failed: what it needs may be free again by then.
const PAUSE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
/// How often it is told at most that clients are turned away.
const WARN_AGAIN: Duration = Duration::from_secs(1);
/// How long a test card is waited for: hundreds of frames.
const CARD_LIMIT: Duration = Duration::from_secs(10);

/// What is told once the sockets are there.
#[derive(Debug, Serialize)]
struct Serving {
    name: String,
    r#type: String,
    socket: String,
    /// Where the picture of each head is.
    heads: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vnc: Option<Vnc>,
}

/// Serves until SIGTERM or SIGINT, and leaves no socket behind.
///
/// # Errors
///
/// A socket or the device could not be made.
pub(super) fn run(args: &ServeArgs, output: &Output) -> anyhow::Result<()> {
    let served = serve(args, output);
    if let Err(error) = &served {
        args.hosted.tell_failure(error);
    }
    served
}

fn serve(args: &ServeArgs, output: &Output) -> anyhow::Result<()> {
    args.hosted.leave_session()?;
    // Before there is anything to be put away.
    let end = end_signals().context("cannot wait for signals")?;
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let device = parent.create_device(&args.vgpu_type, None)?;
    let place = Place::of(args.socket.as_deref())?;
    let heads = device.instance().heads().iter().map(|head| head.id());
    let heads: Vec<_> = heads
        .map(|head| (head, sockets::of_head(place.socket(), head)))
        .collect();
    sockets::remove_stale(place.socket())?;
    for (_, socket) in &heads {
        sockets::remove_stale(socket)?;
    }
    let mut server = Server::bind(
        place.socket(),
        Arc::clone(&device) as _,
        ServerOptions {
            socket_mode: args.socket_mode,
            ..ServerOptions::default()
        },
    )?;
    let views: anyhow::Result<Vec<_>> = heads
        .iter()
        .map(|(head, socket)| Views::serve(&device, *head, socket, args.socket_mode))
        .collect();
    let _views = views?;
    let vnc = vnc::start(&args.vnc, &device)?;
    let cards: Result<Vec<_>, _> = heads
        .iter()
        .filter(|_| args.test_card)
        .map(|(head, _)| device.show_test_card(*head))
        .collect();
    let _cards = cards?;
    let _vblanks = parent.scheduler().spawn()?;
    if args.test_card {
        heads
            .iter()
            .try_for_each(|(head, _)| wait_for_card(&device, *head))?;
    }
    let told = vnc.as_ref().map(Vnc::told);
    args.hosted.announce(&args.vgpu_type, told)?;
    output.print(&Serving {
        name: device.instance().name().to_owned(),
        r#type: args.vgpu_type.name.to_string(),
        socket: place.socket().display().to_string(),
        heads: heads
            .iter()
            .map(|(_, socket)| socket.display().to_string())
            .collect(),
        vnc,
    })?;
    serve_guest(&mut server, &end)
}

/// Something that is readable once a signal has told this process to end.
fn end_signals() -> io::Result<UnixStream> {
    let (end, to_end) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        pipe::register(signal, to_end.try_clone()?)?;
    }
    Ok(end)
}

/// Returns when a head shows its card: who looks then finds it, in its size.
fn wait_for_card(device: &Arc<VgpuDevice>, head: HeadId) -> anyhow::Result<()> {
    let view = device.head_view(head)?;
    let mut display = Display::open(Arc::new(view), head.0.into())?;
    let deadline = Instant::now() + CARD_LIMIT;
    while display.frame().is_none() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            tracing::warn!(%head, "the test card is late");
            break;
        }
        display.service(irqbroker::Wait::For(left))?;
    }
    Ok(())
}

/// Serves the guest's VMM until `end` is readable.
fn serve_guest(server: &mut Server, end: &UnixStream) -> anyhow::Result<()> {
    let mut warned: Option<Instant> = None;
    loop {
        let mut fds = [
            PollFd::new(end, PollFlags::IN),
            PollFd::from_borrowed_fd(server.poll_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, None) {
            // To look and find nothing does no harm.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds[0].revents().is_empty() {
            return Ok(());
        }
        match server.service(Wait::No) {
            Ok(serviced) => {
                // Whoever keeps connecting does not fill the log.
                let is_told = warned.is_some_and(|at| at.elapsed() < WARN_AGAIN);
                if serviced.refused > 0 && !is_told {
                    tracing::warn!("a second client was turned away");
                    warned = Some(Instant::now());
                }
            }
            // Too many open files. A client that there is has no part in it.
            Err(error @ ServiceError::Accept { .. }) => {
                tracing::warn!(%error, "who connects has to wait");
                if server.state() == ServerState::Listening {
                    let mut end = [PollFd::new(end, PollFlags::IN)];
                    // A signal makes it shorter.
                    let _ = rustix::event::poll(&mut end, Some(&PAUSE));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, type {}, on {}", self.name, self.r#type, self.socket)?;
        self.vnc.iter().try_for_each(|vnc| write!(f, "{vnc}"))
    }
}
