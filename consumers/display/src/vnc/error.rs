//! What can go wrong with a VNC server and with a viewer.

use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;

use crate::display_error::OpenError;
use crate::display_error::WaitError;
use crate::monitor_error::FindMonitorError;
use crate::plan::PlanError;

/// Why a server cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Others than this host could reach it, which was not asked for.
    #[error("{address} can be reached from other hosts, which has to be allowed")]
    Exposed {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// Others than this host could reach it, and it asks for no password.
    #[error("{address} can be reached from other hosts, and no password is asked for")]
    Open {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The device does not tell when the head has changed.
    #[error("cannot wait for what head {head} shows")]
    Display {
        /// Which head.
        head: u32,
        /// What is missing.
        #[source]
        source: PlanError,
    },
    /// Viewers were to change a monitor that nobody can change.
    #[error("viewers cannot ask for another size of head {head}")]
    Monitor {
        /// Which head.
        head: u32,
        /// Why not.
        #[source]
        source: FindMonitorError,
    },
    /// It cannot listen there.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// There is no epoll set or timer to be had.
    #[error("cannot make an epoll set or a timer")]
    Fd {
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
}

/// What went wrong in a service call. The server is as good as before.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The sockets cannot be waited for.
    #[error("cannot wait for viewers")]
    Wait {
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// A viewer cannot be accepted: too many open files.
    #[error("cannot accept a viewer")]
    Accept {
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// The display does not open. Its viewers are gone.
    #[error("cannot open the display")]
    Open {
        /// Why not.
        #[source]
        source: OpenError,
    },
    /// The display's events cannot be waited for.
    #[error("cannot serve the display")]
    Display {
        /// Why not.
        #[source]
        source: WaitError,
    },
}

/// What a viewer did that ends its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Its first bytes are no version of RFB from 3.3 on.
    #[error("not a version of rfb from 3.3 on")]
    Version,
    /// It wants a security type that was not offered.
    #[error("security type {wanted} was not offered")]
    Security {
        /// What it wants.
        wanted: u8,
    },
    /// It does not know the password.
    #[error("wrong password")]
    Password,
    /// There were too many wrong passwords just now, whoever sent them.
    #[error("too many wrong passwords, none is looked at for now")]
    LockedOut,
    /// As many look as may, and each of them has asked for what it is shown.
    #[error("as many viewers look as may")]
    Full,
    /// A color does not fit into a pixel, or a pixel has a size that there is not.
    #[error("no pixel format has {bits} bits of depth {depth} with these colors")]
    PixelFormat {
        /// Bits of a pixel.
        bits: u8,
        /// Bits in use.
        depth: u8,
    },
    /// It wants a color map.
    #[error("color maps are not supported")]
    ColorMap,
    /// It knows more encodings than anybody does.
    #[error("{count} encodings are more than {limit}")]
    Encodings {
        /// How many it lists.
        count: u16,
        /// How many it may.
        limit: u16,
    },
    /// It sends a text longer than is passed over.
    #[error("a text of {len} bytes is more than {limit}")]
    CutText {
        /// Bytes.
        len: u32,
        /// The most there may be.
        limit: u32,
    },
    /// It sends a message that is not known.
    #[error("unknown message {message}")]
    Message {
        /// Its type.
        message: u8,
    },
}

/// Why a text is no VNC password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is empty.
    #[error("a password has at least 1 byte")]
    Empty,
    /// VNC authentication would not look at all of it.
    #[error("a vnc password has at most 8 bytes, not {len}")]
    Long {
        /// Bytes.
        len: usize,
    },
}
