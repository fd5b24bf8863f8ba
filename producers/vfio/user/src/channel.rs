//! The client's side of a connection: one request at a time, and its reply.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use rustix::io::Errno as HostErrno;
use rustix::net::Shutdown;
use rustix::net::sockopt::Timeout;

use irqbroker_vfio_abi::Errno;

use crate::command::Command;
use crate::header::Header;
use crate::header::HeaderFlags;
use crate::header::MessageType;
use crate::inbox::Inbox;
use crate::limits::Limits;
use crate::outbox::Outbox;
use crate::socket_fd;
use crate::socket_fd::Blocking;

/// Fds that a reply is taken with: a region's file or a dma-buf, and some to spare.
pub(crate) const MAX_REPLY_FDS: usize = 8;

/// Bytes of an info structure with all its capabilities that are believed.
pub(crate) const INFO_MAX: u32 = 64 << 10;

/// A connection, as long as it makes sense.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) socket: OwnedFd,
    inbox: Inbox,
    /// The request, kept for its memory.
    request: Vec<u8>,
    next_id: u16,
    timeout: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The server is gone, late, or out of step.
    Gone,
}

impl Channel {
    pub(crate) fn new(
        socket: OwnedFd,
        timeout: Duration,
        limits: &Limits,
    ) -> Result<Self, HostErrno> {
        for direction in [Timeout::Recv, Timeout::Send] {
            rustix::net::sockopt::set_socket_timeout(&socket, direction, Some(timeout))?;
        }
        let info = usize::try_from(INFO_MAX).unwrap_or(usize::MAX);
        let max_message = limits.max_message().max(info.saturating_add(Header::SIZE));
        Ok(Self {
            socket,
            inbox: Inbox::new(max_message, MAX_REPLY_FDS),
            request: Vec::new(),
            next_id: 0,
            timeout,
            state: State::Open,
        })
    }

    /// Sends a request of these parts and has `read` read the reply's payload and fds.
    ///
    /// # Errors
    ///
    /// The server's own; those of `read`. ENODEV if the server is gone, ETIMEDOUT if it does not
    /// answer in time, EPROTO if it answers something else: the connection is over after each of
    /// these, and what follows is ENODEV.
    pub(crate) fn call<T>(
        &mut self,
        command: Command,
        parts: [&[u8]; 2],
        fds: &[BorrowedFd<'_>],
        read: impl FnOnce(&[u8], Vec<OwnedFd>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        if self.state == State::Gone {
            return Err(Errno::ENODEV);
        }
        let deadline = Instant::now() + self.timeout;
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.compose(id, command, parts)?;
        let sent = send_all(self.socket.as_fd(), &self.request, fds);
        let reply = sent.and_then(|()| self.wait_for(id, command, deadline));
        if let Err(errno) = reply {
            return Err(self.give_up(errno));
        }
        let Ok(Some(message)) = self.inbox.next() else {
            return Err(self.give_up(Errno::EPROTO));
        };
        message.header.outcome()?;
        let fds = message.fds.map_err(|errno| match errno {
            // Too many of them is the server's fault.
            Errno::EINVAL => Errno::EPROTO,
            errno => errno,
        })?;
        read(message.payload, fds)
    }

    fn compose(&mut self, id: u16, command: Command, parts: [&[u8]; 2]) -> Result<(), Errno> {
        let size = Header::SIZE + parts[0].len() + parts[1].len();
        let header = Header {
            id,
            command,
            size: u32::try_from(size).map_err(|_| Errno::EINVAL)?,
            flags: HeaderFlags::empty(),
            error: 0,
        };
        self.request.clear();
        self.request.extend_from_slice(&header.encode());
        for part in parts {
            self.request.extend_from_slice(part);
        }
        Ok(())
    }

    /// Reads until the reply is the inbox's front message, all of it.
    fn wait_for(&mut self, id: u16, command: Command, deadline: Instant) -> Result<(), Errno> {
        loop {
            match self.inbox.peek().map_err(|_| Errno::EPROTO)? {
                Some(header) if header.message_type() == MessageType::Command => {
                    self.refuse(&header)?;
                }
                Some(header) if (header.id, header.command) == (id, command) => {
                    return match header.message_type() {
                        MessageType::Reply => Ok(()),
                        _ => Err(Errno::EPROTO),
                    };
                }
                Some(_) => return Err(Errno::EPROTO),
                None => {
                    self.receive()?;
                    if Instant::now() > deadline {
                        return Err(Errno::ETIMEDOUT);
                    }
                }
            }
        }
    }

    fn receive(&mut self) -> Result<(), Errno> {
        let room = self.inbox.room();
        match socket_fd::receive(self.socket.as_fd(), room, Blocking::Yes) {
            Ok((0, _)) => Err(Errno::ENODEV),
            Ok((len, fds)) => {
                self.inbox.filled(len, fds);
                Ok(())
            }
            Err(errno) => socket_error(errno),
        }
    }

    /// Answers a request of the server: a client lends memory by its files alone.
    fn refuse(&mut self, header: &Header) -> Result<(), Errno> {
        // It is the front message and whole, so this takes it.
        let _ = self.inbox.next();
        if header.flags.contains(HeaderFlags::NO_REPLY) {
            return Ok(());
        }
        let mut outbox = Outbox::default();
        outbox.reply(header, |_| Err(Errno::EOPNOTSUPP));
        match outbox.front() {
            Some((bytes, _)) => send_all(self.socket.as_fd(), bytes, &[]),
            None => Ok(()),
        }
    }

    /// Ends the connection: a reply that comes late would be taken for the next one's.
    fn give_up(&mut self, errno: Errno) -> Errno {
        tracing::warn!(?errno, "connection to a server ends");
        self.state = State::Gone;
        // The peer may have closed it before.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
        errno
    }
}

/// Sends all of it, the fds with the first byte.
fn send_all(
    socket: BorrowedFd<'_>,
    mut bytes: &[u8],
    mut fds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match socket_fd::send(socket, bytes, fds, Blocking::Yes) {
            Ok(len) => {
                bytes = bytes.get(len..).unwrap_or_default();
                fds = &[];
            }
            Err(errno) => socket_error(errno)?,
        }
    }
    Ok(())
}

/// What an error of the socket means; a signal means nothing.
fn socket_error(errno: HostErrno) -> Result<(), Errno> {
    Err(match errno {
        HostErrno::INTR => return Ok(()),
        HostErrno::AGAIN => Errno::ETIMEDOUT,
        HostErrno::PIPE | HostErrno::CONNRESET | HostErrno::NOTCONN => Errno::ENODEV,
        errno => Errno::from(errno),
    })
}
