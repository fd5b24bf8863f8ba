//! One vGPU on a vfio-user socket: no daemon, one process, one client at a time.

use std::fmt;
use std::sync::Arc;

use irqbroker::vgpu::Granularity;
use irqbroker::vgpu::VblankScheduler;
use irqbroker::vgpu::VgpuParent;
use irqbroker_vfio_user::Server;
use irqbroker_vfio_user::ServerOptions;
use irqbroker_vfio_user::Wait;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::io::Errno;
use serde::Serialize;

use super::args::ServeArgs;
use super::sockets;
use super::vnc;
use super::vnc::Vnc;
use crate::output::Output;

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

/// Serves until a signal ends the process.
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
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let device = parent.create_device(&args.vgpu_type, None)?;
    let heads = device.instance().heads().iter().map(|head| head.id());
    let heads: Vec<_> = heads
        .map(|head| (head, sockets::of_head(&args.socket, head)))
        .collect();
    sockets::remove_stale(&args.socket)?;
    for (_, socket) in &heads {
        sockets::remove_stale(socket)?;
    }
    let mut servers = vec![Server::bind(
        &args.socket,
        Arc::clone(&device) as _,
        ServerOptions::default(),
    )?];
    for (head, socket) in &heads {
        let view = Arc::new(device.head_view(*head)?);
        servers.push(Server::bind(socket, view, ServerOptions::default())?);
    }
    let vnc = vnc::start(&args.vnc, &device)?;
    let cards: Result<Vec<_>, _> = heads
        .iter()
        .filter(|_| args.test_card)
        .map(|(head, _)| device.show_test_card(*head))
        .collect();
    let _cards = cards?;
    let _vblanks = parent.scheduler().spawn()?;
    let told = vnc.as_ref().map(Vnc::told);
    args.hosted.announce(&args.vgpu_type, told)?;
    output.print(&Serving {
        name: device.instance().name().to_owned(),
        r#type: args.vgpu_type.name.to_string(),
        socket: args.socket.display().to_string(),
        heads: heads
            .iter()
            .map(|(_, socket)| socket.display().to_string())
            .collect(),
        vnc,
    })?;
    loop {
        wait(&servers)?;
        for server in &mut servers {
            let serviced = server.service(Wait::No)?;
            if serviced.refused > 0 {
                tracing::warn!(
                    clients = serviced.refused,
                    "a second client was turned away"
                );
            }
        }
    }
}

/// Returns when one of them may have something to do.
fn wait(servers: &[Server]) -> anyhow::Result<()> {
    let mut fds: Vec<PollFd<'_>> = servers
        .iter()
        .map(|server| PollFd::from_borrowed_fd(server.poll_fd(), PollFlags::IN))
        .collect();
    match rustix::event::poll(&mut fds, None) {
        // To look and find nothing does no harm.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, type {}, on {}", self.name, self.r#type, self.socket)?;
        self.vnc.iter().try_for_each(|vnc| write!(f, "{vnc}"))
    }
}
