//! A session and its socket, which never blocks.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use crate::inbox::FramingError;
use crate::session::Session;
use crate::socket_fd;
use crate::socket_fd::Blocking;

/// Reads a call makes at most, so that one client cannot keep the embedder's loop for itself.
const ROUNDS: usize = 16;

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The client has closed it.
    #[error("closed by the client")]
    Closed,
    /// What came is not the protocol.
    #[error("framing")]
    Framing(#[from] FramingError),
    /// The socket failed.
    #[error("socket")]
    Socket(#[source] Errno),
}

#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    session: Session,
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd, session: Session) -> Self {
        Self { socket, session }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether the client has closed its end; what it has sent may still be there.
    pub(crate) fn is_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.socket, PollFlags::empty())];
        let polled = rustix::event::poll(&mut fds, Some(&Timespec::default()));
        polled.is_ok() && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// Whether the client has said its version.
    pub(crate) const fn has_opened(&self) -> bool {
        self.session.has_opened()
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> EventFlags {
        let mut interest = EventFlags::empty();
        interest.set(EventFlags::IN, self.session.wants_input());
        interest.set(EventFlags::OUT, self.session.unsent().is_some());
        interest
    }

    /// Takes what has come and sends what waits, and returns how many requests were served.
    pub(crate) fn service(&mut self) -> Result<usize, Ended> {
        let mut requests = self.flush()?;
        for _ in 0..ROUNDS {
            if !self.session.wants_input() {
                break;
            }
            let room = self.session.room();
            let offered = room.len();
            let (len, fds) = match socket_fd::receive(self.socket.as_fd(), room, Blocking::No) {
                Ok((0, _)) => return Err(Ended::Closed),
                Ok(read) => read,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Ended::Socket(errno)),
            };
            let served = self.session.received(len, fds);
            // Also the last words to a client that is about to be left.
            let flushed = self.flush();
            requests += served? + flushed?;
            if len < offered {
                break;
            }
        }
        Ok(requests)
    }

    /// Sends what waits, as far as the client takes it. Where that lets requests be served that
    /// had to wait, it returns how many.
    fn flush(&mut self) -> Result<usize, Ended> {
        let mut requests = 0;
        while let Some((bytes, fds)) = self.session.unsent() {
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            match socket_fd::send(self.socket.as_fd(), bytes, &fds, Blocking::No) {
                Ok(len) => requests += self.session.sent(len)?,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Ended::Socket(errno)),
            }
        }
        Ok(requests)
    }
}
