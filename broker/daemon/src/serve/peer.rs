//! A connected peer: what it may do, and what it has not read yet.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use irqbroker::Token;
use irqbroker_protocol::Connection;
use irqbroker_protocol::Scope;
use irqbroker_protocol::SendError;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvFlags;
use rustix::net::ReturnFlags;
use rustix::net::Shutdown;

use super::claim_fd::ClaimRecord;

/// An fd on its way to a peer.
#[derive(Debug, Clone)]
pub(crate) enum OutFd {
    Event(Token),
    Record(Rc<ClaimRecord>),
}

impl AsFd for OutFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Event(token) => token.as_fd(),
            Self::Record(record) => record.as_fd(),
        }
    }
}

/// A message on its way to a peer.
#[derive(Debug)]
struct Out {
    bytes: Vec<u8>,
    fds: Vec<OutFd>,
}

/// How much a peer may let stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backlog {
    /// All was sent.
    Empty,
    /// Some of it waits.
    Waiting,
    /// Too much waits, or the connection is broken.
    Over,
}

/// A connected peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) connection: Connection,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Given in the handshake.
    pub(crate) scopes: Option<Vec<Scope>>,
    pub(crate) watching: bool,
    /// Events left out since the peer was last told one.
    pub(crate) missed: u64,
    /// Its request is not decided yet, and none is read until it is.
    pub(crate) awaits_answer: bool,
    /// What it is polled for.
    pub(crate) polled_for: EventFlags,
    out: VecDeque<Out>,
    out_bytes: usize,
}

impl Peer {
    pub(crate) fn new(connection: Connection, uid: u32, gid: u32) -> Self {
        Self {
            connection,
            uid,
            gid,
            scopes: None,
            watching: false,
            missed: 0,
            awaits_answer: false,
            polled_for: EventFlags::IN,
            out: VecDeque::new(),
            out_bytes: 0,
        }
    }

    /// Sends, or keeps what the peer does not read yet.
    pub(crate) fn send(&mut self, bytes: Vec<u8>, fds: Vec<OutFd>, limit: usize) -> Backlog {
        let waited = self.has_backlog();
        self.out_bytes += bytes.len();
        self.out.push_back(Out { bytes, fds });
        // There was no room, and whoever polls for it has not seen any.
        match waited && self.out_bytes <= limit {
            true => Backlog::Waiting,
            false => self.flush(limit),
        }
    }

    /// Sends what was kept.
    pub(crate) fn flush(&mut self, limit: usize) -> Backlog {
        while let Some(first) = self.out.front() {
            let fds: Vec<BorrowedFd<'_>> = first.fds.iter().map(AsFd::as_fd).collect();
            match self.connection.send(&first.bytes, &fds) {
                Ok(()) => {
                    self.out_bytes -= first.bytes.len();
                    self.out.pop_front();
                }
                Err(SendError::WouldBlock) if self.out_bytes <= limit => return Backlog::Waiting,
                Err(_) => return Backlog::Over,
            }
        }
        Backlog::Empty
    }

    /// Whether something waits to be read.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.out.is_empty()
    }

    /// Bytes that wait to be read.
    pub(crate) fn backlog_bytes(&self) -> usize {
        self.out_bytes
    }
}

/// How often to look into a socket that reports an error instead: there is one of each kind.
const LOOKS: usize = 3;

/// Ends a connection, of which the other end is told now; its socket, if something in it has not been
/// read or may not have been.
pub(crate) fn shut_down(socket: OwnedFd) -> Option<OwnedFd> {
    // Nothing can be sent into it from here on (`unix_dgram_sendmsg`).
    let _gone = rustix::net::shutdown(&socket, Shutdown::Both);
    // An empty packet looks like the end, but for what the kernel adds to each packet and finds no
    // room for here (`scm_recv_unix`).
    let marked = rustix::net::sockopt::set_socket_passcred(&socket, true);
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let looks = std::iter::repeat_with(|| {
        rustix::net::recvmsg(
            &socket,
            &mut [IoSliceMut::new(&mut [0])],
            &mut RecvAncillaryBuffer::default(),
            flags,
        )
    });
    // That the other end went without having read all is told first, and once.
    let look = looks
        .take(LOOKS)
        .find(|look| !matches!(look, Err(Errno::CONNRESET | Errno::INTR)));
    let is_empty = look
        .and_then(Result::ok)
        .is_some_and(|end| end.bytes == 0 && !end.flags.contains(ReturnFlags::CTRUNC));
    (marked.is_err() || !is_empty).then_some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    use rustix::net::AddressFamily;
    use rustix::net::SocketFlags;
    use rustix::net::SocketType;

    /// A socket, and the other end's.
    fn pair() -> (OwnedFd, Connection) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
                .unwrap();
        (one, Connection::new(other))
    }

    #[test]
    fn shut_down_keeps_a_socket_only_if_something_in_it_was_not_read() {
        let (socket, other) = pair();
        assert!(shut_down(socket).is_none());
        other.send(b"late", &[]).unwrap_err();
        // The other end is gone before, with or without having read.
        for unread in [&b""[..], b"unread"] {
            let (socket, other) = pair();
            rustix::net::send(&socket, unread, rustix::net::SendFlags::empty()).unwrap();
            drop(other);
            assert!(shut_down(socket).is_none());
        }
        let file = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        for (first, fds) in [
            (&b"{"[..], &[][..]),
            (b"", &[]),
            (b"", &[file.as_fd()]),
            (b"{", &[file.as_fd()]),
        ] {
            for is_gone in [false, true] {
                let (socket, other) = pair();
                other.send(first, fds).unwrap();
                other.send(b"behind", &[file.as_fd()]).unwrap();
                if is_gone {
                    drop(other);
                }
                assert!(shut_down(socket).is_some(), "{first:?} {fds:?} {is_gone}");
            }
        }
    }
}
