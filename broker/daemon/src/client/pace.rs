//! Pacing: the consumer's process tells the producer's what has arrived, past the daemon.
//!
//! Events that come while one is pending merge, as in hardware, and would look like lost ones. So an
//! event waits for the one before to be delivered. The word of it takes a socket of its own, so that it
//! costs the daemon nothing and a daemon that has died holds nobody up.

use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;

use super::args::Common;

/// Where the producer's process hears.
fn address(common: &Common) -> io::Result<SocketAddr> {
    // The same in each process of this build, and short, which the path of a socket need not be.
    let mut hasher = DefaultHasher::new();
    (&common.socket, common.link.as_str()).hash(&mut hasher);
    SocketAddr::from_abstract_name(format!("irqbroker-pace-{:016x}", hasher.finish()))
}

/// The producer's end.
#[derive(Debug)]
pub(super) struct Arrivals {
    socket: UnixDatagram,
    /// Events that each link has delivered at least.
    delivered: u64,
}

impl Arrivals {
    /// # Errors
    ///
    /// Another producer of these links runs.
    pub(super) fn new(common: &Common) -> io::Result<Self> {
        let socket = UnixDatagram::bind_addr(&address(common)?)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            delivered: 0,
        })
    }

    /// Readable when there may be more.
    pub(super) fn poll_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Events that each link has delivered by now, as far as was told.
    pub(super) fn delivered(&mut self) -> u64 {
        let mut told = [0; 8];
        // Whatever else ends it: what was told last holds.
        while let Ok(8) = self.socket.recv(&mut told) {
            self.delivered = self.delivered.max(u64::from_ne_bytes(told));
        }
        self.delivered
    }
}

/// Whether something has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// To whoever there is, which may be nobody.
    Once,
    /// Not yet: the producer's process has not heard what it was told before.
    Later,
}

/// The consumer's end.
#[derive(Debug)]
pub(super) struct Teller {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl Teller {
    /// # Errors
    ///
    /// No socket is to be had.
    pub(super) fn new(common: &Common) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            to: address(common)?,
        })
    }

    /// Tells how many events each link has delivered at least; to be repeated, since nobody may hear it
    /// yet.
    pub(super) fn tell(&self, delivered: u64) -> Told {
        let sent = self.socket.send_to_addr(&delivered.to_ne_bytes(), &self.to);
        match sent.map_err(|error| error.kind()) {
            Err(io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Told::Later,
            _ => Told::Once,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use irqbroker_protocol::Name;

    use super::*;

    /// Links of a name that no other test and no other process has.
    fn common(name: &str) -> Common {
        Common {
            socket: format!("/nowhere/{}", std::process::id()).into(),
            link: Name::new(name).unwrap(),
            links: 1,
            timeout: Duration::ZERO,
        }
    }

    #[test]
    fn last_word_is_told_again_until_a_producer_that_did_not_listen_hears_it() {
        let common = common("slow");
        let mut arrivals = Arrivals::new(&common).unwrap();
        let teller = Teller::new(&common).unwrap();
        // Far more than the socket holds (`net.unix.max_dgram_qlen`).
        let full = (0..100_000).any(|_| teller.tell(1) == Told::Later);
        assert!(full, "the socket takes all there is");

        assert_eq!(teller.tell(2), Told::Later);
        assert_eq!(arrivals.delivered(), 1);

        assert_eq!(teller.tell(2), Told::Once);
        assert_eq!(arrivals.delivered(), 2);
    }

    #[test]
    fn word_that_nobody_hears_is_told_once() {
        let teller = Teller::new(&common("alone")).unwrap();
        assert_eq!(teller.tell(1), Told::Once);
    }
}
