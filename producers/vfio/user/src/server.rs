//! A device on a socket, serviced by the embedder's own loop.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use irqbroker_vfio_abi::Device;

use crate::connection::Connection;
use crate::connection::Ended;
use crate::dispatch::Dispatch;
use crate::dma::DmaSpace;
use crate::error::ServeError;
use crate::error::ServiceError;
use crate::limits::Limits;
use crate::listener;
use crate::listener::SocketMode;
use crate::session::Session;

const LISTENER: u64 = 0;
const CLIENT: u64 = 1;
const STOP: u64 = 2;
/// One for each of the above.
const EVENTS: usize = 3;
/// How long nobody is looked for who could only be turned away, and that not for want of an fd.
const DEAF: Duration = Duration::from_secs(1);

/// How long a service call may wait for the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Take what is there.
    No,
    /// At most this long.
    For(Duration),
    /// Until something happens.
    Forever,
}

/// What a server is given beside its device.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// How much it takes of a client.
    pub limits: Limits,
    /// Who is told of the memory that a client lends; without one its files are closed.
    pub dma_space: Option<Arc<dyn DmaSpace>>,
    /// Who may connect, where the socket file is made here.
    pub socket_mode: SocketMode,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// Nobody yet, or nobody any more.
    Listening,
    /// A client.
    Connected,
    /// The only client there could be is gone.
    Ended,
}

/// What one service call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Serviced {
    /// Requests served.
    pub requests: usize,
    /// Clients turned away because there is one.
    pub refused: usize,
}

/// A device on a socket, for one client at a time.
///
/// A second client is accepted and closed at once, unless the first has kept silent for longer than
/// [`Limits::opening`]: that one makes room. When a client is gone, however it went, its eventfds
/// are unbound, its memory is unmapped, and the device runs again if it had saved it; it is left as it is
/// otherwise, and the next client may come.
#[derive(Debug)]
pub struct Server {
    device: Arc<dyn Device>,
    options: ServerOptions,
    epoll: OwnedFd,
    listener: Option<UnixListener>,
    /// Since when the listener is not waited for.
    deaf: Option<Instant>,
    /// The socket file, if it is this server's.
    path: Option<PathBuf>,
    client: Option<Connection>,
    connected: Instant,
    /// What the client's socket is waited for.
    interest: EventFlags,
    /// Whether a wait was ended by [`watch_stop`](Self::watch_stop).
    stopped: bool,
}

impl Server {
    /// Serves `device` on a socket file that is made here, of [`ServerOptions::socket_mode`], and removed
    /// when the server is dropped.
    ///
    /// # Errors
    ///
    /// The file exists or cannot be made, or there is no epoll set to be had.
    pub fn bind(
        path: &Path,
        device: Arc<dyn Device>,
        options: ServerOptions,
    ) -> Result<Self, ServeError> {
        let mode = options.socket_mode;
        let mut server = Self::new(device, options)?;
        let listener = listener::listen(path, mode).map_err(|source| ServeError::Bind {
            path: path.to_owned(),
            source,
        })?;
        // Whatever fails from here on, the file goes with the server.
        server.path = Some(path.to_owned());
        server.listen(listener)?;
        Ok(server)
    }

    /// Serves `device` to the peer of a connected socket, and nobody after it.
    ///
    /// # Errors
    ///
    /// There is no epoll set to be had.
    pub fn with_stream(
        stream: UnixStream,
        device: Arc<dyn Device>,
        options: ServerOptions,
    ) -> Result<Self, ServeError> {
        let mut server = Self::new(device, options)?;
        server
            .connect(stream.into())
            .map_err(|source| ServeError::Epoll { source })?;
        Ok(server)
    }

    fn new(device: Arc<dyn Device>, options: ServerOptions) -> Result<Self, ServeError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|source| ServeError::Epoll { source })?;
        Ok(Self {
            device,
            options,
            epoll,
            listener: None,
            deaf: None,
            path: None,
            client: None,
            connected: Instant::now(),
            interest: EventFlags::empty(),
            stopped: false,
        })
    }

    fn listen(&mut self, listener: UnixListener) -> Result<(), ServeError> {
        listener
            .set_nonblocking(true)
            .map_err(|source| ServeError::Listener { source })?;
        self.watch(listener.as_fd(), LISTENER)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Also ends a wait when `stop` is readable.
    pub(crate) fn watch_stop(&self, stop: BorrowedFd<'_>) -> Result<(), ServeError> {
        self.watch(stop, STOP)
    }

    /// Whether one of the waits so far found `stop` readable.
    pub(crate) const fn is_stopped(&self) -> bool {
        self.stopped
    }

    fn watch(&self, fd: BorrowedFd<'_>, word: u64) -> Result<(), ServeError> {
        let data = epoll::EventData::new_u64(word);
        epoll::add(&self.epoll, fd, data, EventFlags::IN)
            .map_err(|source| ServeError::Epoll { source })
    }

    fn connect(&mut self, socket: OwnedFd) -> Result<(), Errno> {
        let dma_space = self.options.dma_space.clone();
        let dispatch = Dispatch::new(Arc::clone(&self.device), dma_space, self.options.limits);
        let client = Connection::new(socket, Session::new(dispatch));
        let interest = client.interest();
        let data = epoll::EventData::new_u64(CLIENT);
        epoll::add(&self.epoll, client.as_fd(), data, interest)?;
        self.interest = interest;
        self.client = Some(client);
        self.connected = Instant::now();
        Ok(())
    }

    /// Readable when there is something to [`service`](Self::service).
    #[must_use]
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Who is at the other end.
    #[must_use]
    pub const fn state(&self) -> ServerState {
        match (&self.client, &self.listener) {
            (Some(_), _) => ServerState::Connected,
            (None, Some(_)) => ServerState::Listening,
            (None, None) => ServerState::Ended,
        }
    }

    /// Whether there is a client that has said which version it speaks: it means to stay.
    #[must_use]
    pub fn has_opened(&self) -> bool {
        self.client.as_ref().is_some_and(Connection::has_opened)
    }

    /// Serves what has come, of those who connect one a call: however many they are, the client has
    /// its turn. Beyond `wait` it never blocks, whatever a client does or leaves undone, unless the
    /// device does.
    ///
    /// # Errors
    ///
    /// The epoll set cannot be waited for, or a client not be accepted (too many open files). The
    /// server is as good as before. Who could not be accepted is reported again: at once where there
    /// is no client, so that a pause is in order, and else after a second, so that none is.
    pub fn service(&mut self, wait: Wait) -> Result<Serviced, ServiceError> {
        if self.deaf.is_some_and(|since| since.elapsed() >= DEAF) {
            self.hear()?;
        }
        let mut done = Serviced::default();
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let events = match epoll::wait(&self.epoll, &mut buffer, timeout(wait).as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(done),
            Err(source) => return Err(ServiceError::Wait { source }),
        };
        let ready = |word| events.iter().any(|event| event.data.u64() == word);
        let (client, listener) = (ready(CLIENT), ready(LISTENER));
        self.stopped |= ready(STOP);
        // The client first: where it is gone there is room for the next.
        if client {
            done.requests = self.service_client()?;
        }
        if listener {
            done.requests += self.finish_client()?;
            done.refused = self.accept()?;
        }
        Ok(done)
    }

    /// Serves what a client that has hung up left behind, to its end: one that dies and comes back
    /// is not to be turned away for its own last words.
    fn finish_client(&mut self) -> Result<usize, ServiceError> {
        let mut requests = 0;
        // Each time something is read, or the end; nothing is added to it.
        while self.client.as_ref().is_some_and(Connection::is_hung_up) {
            requests += self.service_client()?;
        }
        Ok(requests)
    }

    fn service_client(&mut self) -> Result<usize, ServiceError> {
        let Some(client) = &mut self.client else {
            return Ok(0);
        };
        match client.service() {
            Ok(requests) => {
                let interest = client.interest();
                if interest != self.interest {
                    let data = epoll::EventData::new_u64(CLIENT);
                    epoll::modify(&self.epoll, client.as_fd(), data, interest)
                        .map_err(|source| ServiceError::Wait { source })?;
                    self.interest = interest;
                }
                Ok(requests)
            }
            Err(ended) => {
                match &ended {
                    Ended::Closed => tracing::info!("client is gone"),
                    Ended::Framing(error) => tracing::warn!(%error, "client left"),
                    Ended::Socket(error) => tracing::info!(%error, "client lost"),
                }
                self.leave_client();
                self.hear()?;
                Ok(0)
            }
        }
    }

    fn leave_client(&mut self) {
        if let Some(client) = self.client.take() {
            // The only failure is that it is not in the set.
            let _ = epoll::delete(&self.epoll, client.as_fd());
        }
    }

    /// Waits for those who connect again.
    fn hear(&mut self) -> Result<(), ServiceError> {
        if self.deaf.is_some() {
            self.heed_listener(EventFlags::IN)?;
            self.deaf = None;
        }
        Ok(())
    }

    fn heed_listener(&self, interest: EventFlags) -> Result<(), ServiceError> {
        let Some(listener) = &self.listener else {
            return Ok(());
        };
        epoll::modify(
            &self.epoll,
            listener,
            epoll::EventData::new_u64(LISTENER),
            interest,
        )
        .map_err(|source| ServiceError::Wait { source })
    }

    /// Accepts one of those who are there, and returns how many were turned away.
    fn accept(&mut self) -> Result<usize, ServiceError> {
        let Some(listener) = &self.listener else {
            return Ok(0);
        };
        let socket = match rustix::net::accept_with(listener, rustix::net::SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            // Gone by now, or another try is due.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(0),
            Err(source) => {
                if self.client.is_some() {
                    // A listener that stays readable would take the client's time.
                    self.heed_listener(EventFlags::empty())?;
                    self.deaf = Some(Instant::now());
                }
                return Err(ServiceError::Accept { source });
            }
        };
        let is_patient = self.connected.elapsed() < self.options.limits.opening;
        if self.client.is_some() && (self.has_opened() || is_patient) {
            tracing::debug!("second client turned away");
            return Ok(1);
        }
        if self.client.is_some() {
            tracing::warn!("client that kept silent makes room for the next");
            self.leave_client();
        }
        self.connect(socket)
            .map_err(|source| ServiceError::Accept { source })?;
        tracing::info!("client connected");
        Ok(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Somebody else may have removed it.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn timeout(wait: Wait) -> Option<Timespec> {
    match wait {
        Wait::Forever => None,
        Wait::No => Some(Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        }),
        // Beyond what a timespec holds is forever.
        Wait::For(limit) => Timespec::try_from(limit).ok(),
    }
}

#[cfg(test)]
mod tests;
