//! What can fail around the requests themselves, which fail with an errno.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno as HostErrno;

use irqbroker_vfio_abi::Errno;

use crate::version::VersionError;

/// Why a device cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket file cannot be made.
    #[error("socket {path}", path = path.display())]
    Bind {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The listening socket cannot be made non-blocking.
    #[error("listening socket")]
    Listener {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The sockets cannot be waited for.
    #[error("epoll set of a server")]
    Epoll {
        /// Why.
        #[source]
        source: HostErrno,
    },
    /// There is no thread to be had.
    #[error("thread of a server")]
    Thread {
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why a service call failed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The epoll set cannot be waited for.
    #[error("wait for a client")]
    Wait {
        /// Why.
        #[source]
        source: HostErrno,
    },
    /// A client cannot be accepted.
    #[error("accept a client")]
    Accept {
        /// Why.
        #[source]
        source: HostErrno,
    },
}

/// Why there is no connection to a server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there, or too many wait.
    #[error("socket {path}", path = path.display())]
    Connect {
        /// The socket file.
        path: PathBuf,
        /// Why.
        #[source]
        source: HostErrno,
    },
    /// The socket cannot be set up.
    #[error("socket of a client")]
    Socket {
        /// Why.
        #[source]
        source: HostErrno,
    },
    /// A request of the handshake came to nothing: ENODEV if the server closed the connection, as
    /// ours does while it has another client; ETIMEDOUT if it did not answer; EPROTO if it
    /// answered nonsense; else its own refusal.
    #[error("{request} was not answered")]
    Handshake {
        /// Which request.
        request: crate::command::Command,
        /// Why.
        #[source]
        source: Errno,
    },
    /// The server's version makes no sense.
    #[error("version of the server")]
    Version(#[source] VersionError),
    /// The server takes no data at all.
    #[error("server takes {max_data_xfer_size} bytes of data an access")]
    NoData {
        /// What it says.
        max_data_xfer_size: usize,
    },
    /// The server's device has more regions than any.
    #[error("device has {num_regions} regions, at most {max} are looked at")]
    TooManyRegions {
        /// What the server says.
        num_regions: u32,
        /// What is believed.
        max: u32,
    },
}
