//! Packets with fds on a `SOCK_SEQPACKET` socket.

use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::ReturnFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::sockopt::Timeout;

use crate::limits::MAX_FDS;
use crate::limits::MAX_MESSAGE;

/// Room for the fds of one packet.
const ANCILLARY: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

/// A socket whose packets are messages with fds.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// One byte longer than the longest message, so that a longer one shows.
    buffer: Vec<u8>,
}

/// A received packet.
#[derive(Debug)]
pub struct Packet<'a> {
    /// The message.
    pub bytes: &'a [u8],
    /// The fds that came with it.
    pub fds: Vec<OwnedFd>,
}

/// Why a packet could not be sent. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It is longer than a message may be, or has more fds.
    #[error("a message of {bytes} bytes and {fds} fds is too long")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// Its fds.
        fds: usize,
    },
    /// The socket would block.
    #[error("the peer does not read")]
    WouldBlock,
    /// The kernel refused.
    #[error("cannot send")]
    Socket {
        /// Its answer.
        #[source]
        source: Errno,
    },
}

/// Why there is no packet. Fds of a refused one are closed.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The peer has closed the connection.
    #[error("the peer closed the connection")]
    Closed,
    /// None has come yet.
    #[error("nothing has come")]
    WouldBlock,
    /// It was longer than a message may be.
    #[error("a message of more than {MAX_MESSAGE} bytes")]
    Oversized,
    /// Not all its fds arrived: this process has no room for more.
    #[error("fds of a message were cut off")]
    TruncatedFds {
        /// How long it is; it stands in the buffer.
        bytes: usize,
    },
    /// The kernel refused.
    #[error("cannot receive")]
    Socket {
        /// Its answer.
        #[source]
        source: Errno,
    },
}

impl Connection {
    /// Takes a connected socket over.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            buffer: Vec::new(),
        }
    }

    /// Connects to the daemon at `path`. The socket blocks.
    ///
    /// # Errors
    ///
    /// What the kernel answered: `ENOENT` and `ECONNREFUSED` where no daemon is.
    pub fn connect(path: &Path) -> Result<Self, Errno> {
        connected(socket(SocketFlags::empty())?, path)
    }

    /// The same without waiting, and the socket does not block later either.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), and `EAGAIN` where as many wait for the daemon as may.
    pub fn connect_nonblocking(path: &Path) -> Result<Self, Errno> {
        connected(socket(SocketFlags::NONBLOCK)?, path)
    }

    /// Connects, and waits for the daemon no longer than `limit` then and in each later call.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), and `EAGAIN` where the limit has passed.
    pub fn connect_within(path: &Path, limit: Duration) -> Result<Self, Errno> {
        let socket = socket(SocketFlags::empty())?;
        for which in [Timeout::Send, Timeout::Recv] {
            rustix::net::sockopt::set_socket_timeout(&socket, which, Some(limit))?;
        }
        connected(socket, path)
    }

    /// Makes calls return at once, or wait.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn set_nonblocking(&self, nonblocking: bool) -> Result<(), Errno> {
        rustix::io::ioctl_fionbio(&self.socket, nonblocking)
    }

    /// Sends one packet.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        if bytes.len() > MAX_MESSAGE || fds.len() > MAX_FDS {
            return Err(SendError::TooLong {
                bytes: bytes.len(),
                fds: fds.len(),
            });
        }
        let mut space = [MaybeUninit::uninit(); ANCILLARY];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        let iov = [IoSlice::new(bytes)];
        loop {
            let sent =
                rustix::net::sendmsg(&self.socket, &iov, &mut ancillary, SendFlags::NOSIGNAL);
            return match sent {
                Ok(_) => Ok(()),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Err(SendError::WouldBlock),
                Err(source) => Err(SendError::Socket { source }),
            };
        }
    }

    /// Receives one packet into a buffer of the connection's own.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive(&mut self) -> Result<Packet<'_>, ReceiveError> {
        let mut fds = Vec::new();
        let bytes = receive(self.socket.as_fd(), &mut self.buffer, &mut fds)?;
        Ok(Packet { bytes, fds })
    }

    /// Receives one packet into a buffer that connections share, and its fds, also of a refused one,
    /// into a list: the close of a stranger's file may wait for the stranger.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive_in<'a>(
        &self,
        buffer: &'a mut Vec<u8>,
        fds: &mut Vec<OwnedFd>,
    ) -> Result<&'a [u8], ReceiveError> {
        receive(self.socket.as_fd(), buffer, fds)
    }
}

fn socket(flags: SocketFlags) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | flags;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

fn connected(socket: OwnedFd, path: &Path) -> Result<Connection, Errno> {
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(Connection::new(socket))
}

fn receive<'a>(
    socket: BorrowedFd<'_>,
    buffer: &'a mut Vec<u8>,
    fds: &mut Vec<OwnedFd>,
) -> Result<&'a [u8], ReceiveError> {
    buffer.resize(MAX_MESSAGE + 1, 0);
    let mut space = [MaybeUninit::uninit(); ANCILLARY];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut iov = [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(socket, &mut iov, &mut ancillary, flags) {
            Ok(received) => break received,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(ReceiveError::WouldBlock),
            Err(Errno::CONNRESET) => return Err(ReceiveError::Closed),
            Err(source) => return Err(ReceiveError::Socket { source }),
        }
    };
    // Taken out first, whatever is wrong with the packet.
    let taken = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    fds.extend(taken.flatten());
    if received.flags.contains(ReturnFlags::TRUNC) || received.bytes > MAX_MESSAGE {
        return Err(ReceiveError::Oversized);
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(ReceiveError::TruncatedFds {
            bytes: received.bytes,
        });
    }
    if received.bytes == 0 {
        return Err(ReceiveError::Closed);
    }
    Ok(&buffer[..received.bytes])
}

impl From<Connection> for OwnedFd {
    /// The socket.
    fn from(connection: Connection) -> Self {
        connection.socket
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests;
