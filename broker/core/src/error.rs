//! Why an operation of the registry failed. A failed operation changes nothing.

use rustix::io::Errno;

use crate::event::Side;
use crate::ids::EventId;
use crate::ids::LinkId;
use crate::peer::BypassRefused;
use crate::peer::PeerError;
use crate::token::TokenError;

/// Why a registry could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot create the relay's epoll set")]
pub struct RegistryError {
    /// The kernel's answer.
    #[source]
    pub(crate) source: Errno,
}

/// Why a side could not be registered. It is not registered then, and the other side, if there
/// was one, waits as before.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The token has such a side already.
    #[error("eventfd {event} has a {side} already: {holder}")]
    Duplicate {
        /// The token.
        event: EventId,
        /// Which side came twice.
        side: Side,
        /// The name of the one that was there first.
        holder: String,
    },
    /// No more links, or an id that no kernel hands out.
    #[error("no room for eventfd {event}")]
    Full {
        /// The token.
        event: EventId,
    },
    /// The two sides met, and one refused the other.
    #[error("eventfd {event}: producer and consumer do not agree")]
    Refused {
        /// The token.
        event: EventId,
        /// What the refusing side said.
        #[source]
        source: PeerError,
    },
    /// A level consumer could not be given what it needs to see the guest's EOI.
    #[error("eventfd {event}: no resample for a level interrupt")]
    Level {
        /// The token.
        event: EventId,
        /// What the consumer said.
        #[source]
        source: BypassRefused,
    },
    /// The eventfd could not be put into the relay's epoll set.
    #[error("eventfd {event}: cannot be polled")]
    Poll {
        /// The token.
        event: EventId,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// A step between the two sides and the kernel failed.
    #[error("eventfd {event}: the link cannot be brought up")]
    Link {
        /// The token.
        event: EventId,
        /// What failed.
        #[source]
        source: LinkError,
    },
}

/// Why a link could not be changed. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The id names no link, or one that is no more.
    #[error("link {link} does not exist")]
    Stale {
        /// The id.
        link: LinkId,
    },
    /// The kernel did not let go of the eventfd.
    #[error("link {link}: the irqfd cannot be taken away")]
    Detach {
        /// The link.
        link: LinkId,
        /// What the consumer said.
        #[source]
        source: PeerError,
    },
    /// The source could not be masked or unmasked.
    #[error("link {link}: the source cannot be masked or unmasked")]
    Mask {
        /// The link.
        link: LinkId,
        /// What the producer said.
        #[source]
        source: PeerError,
    },
    /// The eventfd could not be put into the relay's epoll set.
    #[error("link {link}: the eventfd cannot be polled")]
    Poll {
        /// The link.
        link: LinkId,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// What stands in the eventfd could not be read.
    #[error("link {link}: the eventfd's counter cannot be read")]
    Pending {
        /// The link.
        link: LinkId,
        /// What failed.
        #[source]
        source: TokenError,
    },
    /// The link has no consumer with a message.
    #[error("link {link} has no message to change")]
    NoMessage {
        /// The link.
        link: LinkId,
    },
    /// The consumer refused the message.
    #[error("link {link}: the message is refused")]
    Message {
        /// The link.
        link: LinkId,
        /// What the consumer said.
        #[source]
        source: PeerError,
    },
}

/// Why a service call failed.
#[derive(Debug, thiserror::Error)]
#[error("epoll_wait of the relay failed")]
pub struct ServiceError {
    /// The kernel's answer.
    #[source]
    pub(crate) source: Errno,
}
