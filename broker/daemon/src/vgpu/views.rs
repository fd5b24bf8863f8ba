//! The socket of a head: a view of its own for each who connects, on a thread of its own.
//!
//! Whatever those who look ask for, and however many they are, takes no time of the thread that
//! answers the guest's VMM.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use irqbroker::vgpu::HeadId;
use irqbroker::vgpu::VgpuDevice;
use irqbroker_vfio_user::Server;
use irqbroker_vfio_user::ServerOptions;
use irqbroker_vfio_user::ServerState;
use irqbroker_vfio_user::SocketMode;
use irqbroker_vfio_user::Wait;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;

/// Those who look at one head at a time. Each costs a few fds, and what a server keeps of a client.
const MOST: usize = 16;
/// How long nobody is accepted after there were too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves a head on a socket file, until it is dropped.
#[derive(Debug)]
pub(super) struct Views {
    path: PathBuf,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Views {
    /// Begins to serve.
    ///
    /// # Errors
    ///
    /// The socket, the thread or the event that ends it cannot be made; no file is left then.
    pub(super) fn serve(
        device: &Arc<VgpuDevice>,
        head: HeadId,
        path: &Path,
        mode: SocketMode,
    ) -> anyhow::Result<Self> {
        let stop = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let cannot = || format!("cannot serve {}", path.display());
        let listener = irqbroker_vfio_user::listen(path, mode).with_context(cannot)?;
        // Whatever fails from here on, the file goes with this.
        let mut views = Self {
            path: path.to_owned(),
            stop: Arc::new(stop),
            thread: None,
        };
        listener.set_nonblocking(true).with_context(cannot)?;
        let lookers = Lookers {
            device: Arc::clone(device),
            head,
            listener,
            stop: Arc::clone(&views.stop),
            servers: Vec::new(),
            paused: None,
        };
        let thread = std::thread::Builder::new().name(format!("head {head}"));
        let thread = thread.spawn(move || lookers.serve()).with_context(cannot)?;
        views.thread = Some(thread);
        Ok(views)
    }
}

impl Drop for Views {
    fn drop(&mut self) {
        // Never refused: nobody else adds to the counter.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by its panic hook.
            let _ = thread.join();
        }
        // Somebody else may have removed it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What the thread has.
#[derive(Debug)]
struct Lookers {
    device: Arc<VgpuDevice>,
    head: HeadId,
    listener: UnixListener,
    stop: Arc<OwnedFd>,
    /// One for each, in the order in which they came.
    servers: Vec<Server>,
    /// Since when nobody is accepted.
    paused: Option<Instant>,
}

/// What a wait found.
#[derive(Debug, Default)]
struct Ready {
    stop: bool,
    listener: bool,
    /// In the order of the servers.
    servers: Vec<bool>,
}

impl Lookers {
    fn serve(mut self) {
        loop {
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(Errno::INTR) => continue,
                Err(error) => {
                    tracing::error!(head = %self.head, %error, "nobody can look any more");
                    return;
                }
            };
            if ready.stop {
                return;
            }
            let mut is_ready = ready.servers.into_iter();
            self.servers.retain_mut(|server| {
                if is_ready.next() != Some(true) {
                    return true;
                }
                let served = server.service(Wait::No);
                served.is_ok() && server.state() != ServerState::Ended
            });
            // One at a time: those who look have their turn, however many connect.
            if ready.listener {
                self.accept();
            }
        }
    }

    fn wait(&mut self) -> Result<Ready, Errno> {
        self.paused = self.paused.filter(|since| since.elapsed() < PAUSE);
        let (heed, timeout) = match self.paused {
            Some(_) => (PollFlags::empty(), Timespec::try_from(PAUSE).ok()),
            None => (PollFlags::IN, None),
        };
        let mut fds = vec![
            PollFd::new(&self.stop, PollFlags::IN),
            PollFd::new(&self.listener, heed),
        ];
        let servers = self.servers.iter().map(Server::poll_fd);
        fds.extend(servers.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        rustix::event::poll(&mut fds, timeout.as_ref())?;
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(Ready {
            stop: ready.next() == Some(true),
            listener: ready.next() == Some(true),
            servers: ready.collect(),
        })
    }

    fn accept(&mut self) {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            // Gone by now, or another try is due.
            Err(error) if is_passing(&error) => return,
            Err(error) => {
                tracing::warn!(head = %self.head, %error, "who looks has to wait");
                self.paused = Some(Instant::now());
                return;
            }
        };
        if self.servers.len() >= MOST && !self.make_room() {
            tracing::info!(head = %self.head, "turned away: as many look as may");
            return;
        }
        let added = self.device.head_view(self.head).map_err(anyhow::Error::new);
        let added = added.and_then(|view| {
            let server = Server::with_stream(stream, Arc::new(view), ServerOptions::default())?;
            self.servers.push(server);
            Ok(())
        });
        if let Err(error) = added {
            tracing::warn!(head = %self.head, %error, "turned away");
        }
    }

    /// Leaves the one who has kept silent for longest, if any has.
    fn make_room(&mut self) -> bool {
        let silent = self.servers.iter().position(|server| !server.has_opened());
        silent.map(|at| self.servers.remove(at)).is_some()
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}
