//! A ready-made thread for a server, for those who have no loop of their own.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;

use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;

use crate::error::ServeError;
use crate::error::ServiceError;
use crate::server::Server;
use crate::server::ServerState;
use crate::server::Wait;

/// How long the first client waits that cannot be accepted because of too many open files.
const ACCEPT_AGAIN: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Services a server until dropped, or until the only client it could have is gone.
#[derive(Debug)]
pub struct ServerThread {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl ServerThread {
    /// Starts the thread; `prepare` runs on it first, to pin it or to set its priority.
    ///
    /// # Errors
    ///
    /// The thread, or the event that stops it, cannot be made.
    pub fn spawn(
        mut server: Server,
        prepare: impl FnOnce() + Send + 'static,
    ) -> Result<Self, ServeError> {
        let thread = |source| ServeError::Thread { source };
        let stop = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| thread(io::Error::from(errno)))?;
        server.watch_stop(stop.as_fd())?;
        let stop = Arc::new(stop);
        let handle = {
            let stop = Arc::clone(&stop);
            thread::Builder::new()
                .name("vfio-user".into())
                .spawn(move || {
                    prepare();
                    run(&mut server, &stop);
                })
                .map_err(thread)?
        };
        Ok(Self {
            stop,
            thread: Some(handle),
        })
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

fn run(server: &mut Server, stop: &OwnedFd) {
    while server.state() != ServerState::Ended && !server.is_stopped() {
        match server.service(Wait::Forever) {
            Ok(_) => {}
            Err(error @ ServiceError::Accept { .. }) => {
                tracing::warn!(%error, "client has to wait");
                if server.state() == ServerState::Listening {
                    pause(stop);
                }
            }
            Err(error @ ServiceError::Wait { .. }) => {
                tracing::error!(%error, "vfio-user thread ends");
                return;
            }
        }
    }
}

/// Until the client may be tried again, or the thread is to end; the next wait tells which.
fn pause(stop: &OwnedFd) {
    let mut fds = [PollFd::new(stop, PollFlags::IN)];
    // A signal makes it shorter.
    let _ = rustix::event::poll(&mut fds, Some(&ACCEPT_AGAIN));
}

impl Drop for ServerThread {
    fn drop(&mut self) {
        // Never refused: nobody else adds to the counter.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by its panic hook.
            let _ = thread.join();
        }
    }
}
