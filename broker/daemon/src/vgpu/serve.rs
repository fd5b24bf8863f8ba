//! One vGPU on a vfio-user socket: no daemon, one process, one client at a time.

use std::fmt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use irqbroker::vgpu::Granularity;
use irqbroker::vgpu::VblankScheduler;
use irqbroker::vgpu::VgpuDevice;
use irqbroker::vgpu::VgpuParent;
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

use super::args::ServeArgs;
use super::card;
use super::card::Came;
use super::ending::Ending;
use super::ending::Usage;
use super::place::Place;
use super::signals;
use super::sockets;
use super::views::Views;
use super::vnc;
use super::vnc::Vnc;
use crate::output::Output;
use crate::vgpu_host::EndOrder;
use crate::vgpu_host::EndSocket;

/// How long nothing is tried again that has failed: what it needs may be free again by then.
const PAUSE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
/// How often it is told at most that clients are turned away.
const WARN_AGAIN: Duration = Duration::from_secs(1);
/// How many times a client is served that may be gone: more than its socket holds of what it left.
const LAST_WORDS: usize = 16;

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

/// Serves until SIGTERM, SIGINT or SIGHUP, and leaves no socket behind.
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
    // While a signal still ends this process, however long a file system takes.
    let security = vnc::security(&args.vnc)?;
    // Before there is anything to be put away.
    let end = signals::end().context("cannot wait for signals")?;
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
    let ends = args.hosted.end_socket()?;
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
    let vnc = vnc::start(&args.vnc, security, &device)?;
    let cards: Result<Vec<_>, _> = heads
        .iter()
        .filter(|_| args.test_card)
        .map(|(head, _)| device.show_test_card(*head))
        .collect();
    let _cards = cards?;
    let _vblanks = parent.scheduler().spawn()?;
    if args.test_card {
        for (head, _) in &heads {
            if card::wait(&device, *head, &end)? == Came::End {
                return Ok(());
            }
        }
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
    serve_guest(&mut server, &device, ends, &end)
}

/// Serves the guest's VMM until `end` is readable, or until it has been asked to end and does. The thread
/// that serves decides, so that nobody comes in between.
fn serve_guest(
    server: &mut Server,
    device: &VgpuDevice,
    mut ends: Option<EndSocket>,
    end: &UnixStream,
) -> anyhow::Result<()> {
    let mut warned: Option<Instant> = None;
    let mut ending = Ending::default();
    loop {
        let mut fds = vec![
            PollFd::new(end, PollFlags::IN),
            PollFd::from_borrowed_fd(server.poll_fd(), PollFlags::IN),
        ];
        let now = Instant::now();
        let asking = ends.iter().flat_map(|ends| ends.waits(now));
        fds.extend(asking.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let deaf = ends.as_ref().and_then(|ends| ends.patience(now));
        let patience = ending.patience(now).into_iter().chain(deaf).min();
        let patience = patience.and_then(|left| Timespec::try_from(left).ok());
        match rustix::event::poll(&mut fds, patience.as_ref()) {
            // To look and find nothing does no harm.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        if ready.next() == Some(true) {
            return Ok(());
        }
        let is_asked = ready.skip(1).any(|ready| ready);
        service(server, end, &mut warned)?;
        if let Some(ends) = ends.as_mut().filter(|_| is_asked) {
            settle(server, end, &mut warned)?;
            for asked in ends.asked(Instant::now()) {
                let before = ending;
                let ask_back = || device.request_unplug();
                let answer = ending.order(asked.order, usage(server), ask_back, Instant::now());
                tracing::info!(order = ?asked.order, ?answer, "asked to end");
                // Whoever gave up has told that nothing changes. By force it is killed anyway.
                let order = asked.order;
                if !asked.answer(answer) && order == EndOrder::IfUnused {
                    ending = before;
                }
            }
        }
        if ending.is_over(usage(server), Instant::now()) {
            return Ok(());
        }
    }
}

/// One that has connected and said nothing yet is no user: it may be gone by itself in a moment.
fn usage(server: &Server) -> Usage {
    match server.has_opened() {
        true => Usage::InUse,
        false => Usage::Free,
    }
}

/// Serves what a client that is gone left behind, so that it does not pass for a user; one that goes on
/// asking is one.
fn settle(
    server: &mut Server,
    end: &UnixStream,
    warned: &mut Option<Instant>,
) -> anyhow::Result<()> {
    for _ in 0..LAST_WORDS {
        let mut fds = [PollFd::from_borrowed_fd(server.poll_fd(), PollFlags::IN)];
        let is_ready = rustix::event::poll(&mut fds, Some(&Timespec::default()));
        if !server.has_opened() || is_ready == Ok(0) {
            break;
        }
        service(server, end, warned)?;
    }
    Ok(())
}

/// Serves what has come.
fn service(
    server: &mut Server,
    end: &UnixStream,
    warned: &mut Option<Instant>,
) -> anyhow::Result<()> {
    match server.service(Wait::No) {
        Ok(serviced) => {
            // Whoever keeps connecting does not fill the log.
            let is_told = warned.is_some_and(|at| at.elapsed() < WARN_AGAIN);
            if serviced.refused > 0 && !is_told {
                tracing::warn!("a second client was turned away");
                *warned = Some(Instant::now());
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
    Ok(())
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, type {}, on {}", self.name, self.r#type, self.socket)?;
        self.vnc.iter().try_for_each(|vnc| write!(f, "{vnc}"))
    }
}
