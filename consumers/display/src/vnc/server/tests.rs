//! The server with real sockets: a library's viewer, and some that behave badly.

mod changes;
mod crowd;
mod library;
mod looking;
mod places;
mod resize;
mod rude;

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;

use super::*;
use crate::fake::FakeDisplay;
use crate::vnc::limits::VncLimits;
use crate::vnc::password;

/// Longer than any test.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Longer than anything takes on any machine, so that a test fails rather than waits.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where nobody else listens.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A server on a thread, as an embedder's loop has it; ends with this.
struct Served {
    device: Arc<FakeDisplay>,
    address: SocketAddr,
    stop: OwnedFd,
    thread: Option<JoinHandle<VncServer>>,
}

impl Served {
    fn start(device: FakeDisplay, options: VncOptions) -> Self {
        let device = Arc::new(device);
        let server = VncServer::bind(ANY_PORT, Arc::clone(&device) as _, options).unwrap();
        Self::with(server, device)
    }

    /// Goes on with a server.
    fn with(server: VncServer, device: Arc<FakeDisplay>) -> Self {
        let address = server.address();
        let stop = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let stopped = stop.try_clone().unwrap();
        let thread = std::thread::spawn(move || serve(server, &stopped));
        Self {
            device,
            address,
            stop,
            thread: Some(thread),
        }
    }

    /// Ends the loop, and returns what the server has done.
    fn stop(mut self) -> VncCounters {
        self.join().map(|server| server.counters()).unwrap()
    }

    fn join(&mut self) -> Option<VncServer> {
        rustix::io::write(&self.stop, &1u64.to_ne_bytes()).unwrap();
        self.thread.take().map(|thread| thread.join().unwrap())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.thread.is_some() && !std::thread::panicking() {
            self.join();
        }
    }
}

fn serve(mut server: VncServer, stop: &OwnedFd) -> VncServer {
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(server.poll_fd(), PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        rustix::event::poll(&mut fds, None).unwrap();
        if !fds[1].revents().is_empty() {
            return server;
        }
        server.service(Wait::No).unwrap();
    }
}

fn without_password() -> VncOptions {
    options(Security::None)
}

/// With limits that nobody here gets near, however slow the machine is.
fn options(security: Security) -> VncOptions {
    VncOptions {
        limits: VncLimits {
            handshake: FOREVER,
            stall: FOREVER,
            lockout: FOREVER,
            ..VncLimits::default()
        },
        ..VncOptions::new(security)
    }
}

/// A picture of 300 by 200 in which neighbours differ.
fn shown() -> FakeDisplay {
    let device = FakeDisplay::new();
    paint(&device);
    device
}

fn paint(device: &FakeDisplay) {
    device.show(300, 200, |x, y| {
        ((x % 256) << 16) | (y << 8) | ((x + y) % 256)
    });
}

#[test]
fn address_that_others_reach_has_to_be_allowed_and_needs_a_password() {
    let any: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let bind = |options| VncServer::bind(any, Arc::new(FakeDisplay::new()), options);
    let password = Security::Password(password::Password::new("secret").unwrap());

    let exposed = bind(VncOptions::new(password.clone())).unwrap_err();
    assert!(matches!(exposed, BindError::Exposed { .. }));
    let anywhere = |security| VncOptions {
        exposure: Exposure::Anywhere,
        ..VncOptions::new(security)
    };
    let open = bind(anywhere(Security::None)).unwrap_err();
    assert!(matches!(open, BindError::Open { .. }));
    bind(anywhere(password)).unwrap();
}

#[test]
fn head_that_tells_nothing_is_refused() {
    let options = VncOptions {
        head: 1,
        ..without_password()
    };
    let refused = VncServer::bind(ANY_PORT, Arc::new(FakeDisplay::new()), options).unwrap_err();
    assert!(matches!(refused, BindError::Display { head: 1, .. }));
}
