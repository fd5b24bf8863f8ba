//! A viewer's socket.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::Shutdown;

use super::error::ProtocolError;
use super::limits::VncLimits;
use super::options::VncCounters;
use super::screen::Screen;
use super::session::Session;
use super::session::Terms;

/// How much is sent to one viewer before it is the others' turn.
const SEND_MAX: usize = 1 << 20;

/// Why a viewer is gone.
#[derive(Debug)]
pub(super) enum Ended {
    /// It has left.
    Closed,
    /// The kernel says so.
    Socket(Errno),
    /// What it sent made no sense, or it was not let in.
    Protocol(ProtocolError),
    /// Nothing can be compressed for it any more.
    Compressor(io::Error),
    /// It was too slow.
    Stalled,
    /// It was in its handshake or had asked for nothing, and others came.
    Crowded,
    /// There is nothing to look at: the head cannot be looked at.
    Blind,
}

impl Ended {
    /// Counts it, and tells the log.
    pub(super) fn tell(&self, id: u64, counters: &mut VncCounters) {
        match self {
            Self::Closed => tracing::info!(id, "viewer is gone"),
            Self::Socket(error) => tracing::info!(id, %error, "viewer lost"),
            Self::Compressor(error) => tracing::warn!(id, %error, "viewer left"),
            Self::Blind => tracing::info!(id, "viewer left: nothing to look at"),
            Self::Stalled => {
                tracing::info!(id, "viewer left: too slow");
                counters.stalled += 1;
            }
            Self::Crowded | Self::Protocol(ProtocolError::Full) => {
                tracing::info!(id, "viewer turned away");
                counters.turned_away += 1;
            }
            Self::Protocol(ProtocolError::Password) => {
                tracing::warn!(id, "viewer refused: wrong password");
                counters.wrong_passwords += 1;
            }
            Self::Protocol(error) => {
                tracing::info!(id, %error, "viewer left");
                counters.broken += 1;
            }
        }
    }
}

/// A viewer and what is on its way to it.
#[derive(Debug)]
pub(super) struct Client {
    socket: TcpStream,
    pub(super) session: Session,
    out: Vec<u8>,
    /// How much of it is sent.
    sent: usize,
    connected: Instant,
    /// When its handshake was over.
    pub(super) let_in: Option<Instant>,
    /// Since when it has taken nothing though there is something.
    blocked: Option<Instant>,
    /// What its socket is waited for.
    pub(super) interest: EventFlags,
}

impl Client {
    pub(super) fn new(socket: TcpStream, terms: Terms) -> Self {
        let mut out = Vec::new();
        Self {
            socket,
            session: Session::new(terms, &mut out),
            out,
            sent: 0,
            connected: Instant::now(),
            let_in: None,
            blocked: None,
            interest: EventFlags::IN | EventFlags::OUT,
        }
    }

    /// Takes some of what has come.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<(), Ended> {
        match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(Ended::Closed),
            Ok((count, _)) => {
                let received = self.session.receive(&buffer[..count], &mut self.out);
                received.map_err(|error| {
                    self.say_goodbye();
                    Ended::Protocol(error)
                })
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(Ended::Socket(error)),
        }
    }

    /// What the viewer is to be told before it is left; there is no second try.
    fn say_goodbye(&mut self) {
        let rest = &self.out[self.sent..];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let _ = rustix::net::send(&self.socket, rest, flags);
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Sends what there is to be sent and as much as the socket takes, and says in
    /// [`interest`](Self::interest) whether there is more.
    pub(super) fn send(&mut self, screen: &Screen) -> Result<(), Ended> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        self.send_through(screen, |socket, bytes| {
            rustix::net::send(socket, bytes, flags)
        })
    }

    /// The same with what the socket takes as `take` has it.
    fn send_through(
        &mut self,
        screen: &Screen,
        mut take: impl FnMut(&TcpStream, &[u8]) -> Result<usize, Errno>,
    ) -> Result<(), Ended> {
        let mut budget = SEND_MAX;
        self.interest = EventFlags::IN | EventFlags::OUT;
        while budget > 0 {
            if self.sent == self.out.len() {
                self.out.clear();
                self.sent = 0;
                self.blocked = None;
                self.session
                    .fill(screen, &mut self.out)
                    .map_err(Ended::Compressor)?;
                if self.out.is_empty() {
                    self.interest = EventFlags::IN;
                    break;
                }
            }
            match take(&self.socket, &self.out[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    budget = budget.saturating_sub(count);
                    self.blocked = None;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.blocked.get_or_insert_with(Instant::now);
                    break;
                }
                Err(error) => return Err(Ended::Socket(error)),
            }
        }
        Ok(())
    }

    /// When it is too slow, if it does nothing until then.
    pub(super) fn deadline(&self, limits: &VncLimits) -> Option<Instant> {
        let after = |since: Instant, limit: Duration| since.checked_add(limit);
        let handshake = if self.session.is_running() {
            None
        } else {
            after(self.connected, limits.handshake)
        };
        let stall = self.blocked.and_then(|since| after(since, limits.stall));
        handshake.into_iter().chain(stall).min()
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests;
