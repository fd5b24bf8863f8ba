//! Why the client could not do something.

use irqbroker_core::LinkError;
use irqbroker_core::RegisterError;
use irqbroker_core::ServiceError;
use irqbroker_core::TokenError;
use irqbroker_protocol::Name;
use irqbroker_protocol::Side;
use rustix::io::Errno;

/// Why the client could not do something. That no daemon answers is none: it tries again.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// An object of this side and name is there already.
    #[error("a {side} {name} is there already")]
    Duplicate {
        /// Which side.
        side: Side,
        /// Its name.
        name: Name,
    },
    /// There is no such object.
    #[error("there is no {side} {name}")]
    Unknown {
        /// Which side.
        side: Side,
        /// Its name.
        name: Name,
    },
    /// A consumer has neither a link's name nor an eventfd to be found by.
    #[error("consumer {name} needs a link name or an eventfd")]
    NoKey {
        /// Its name.
        name: Name,
    },
    /// An eventfd cannot be had, or is none.
    #[error("the eventfd of {name} is of no use")]
    Event {
        /// Whose it is.
        name: Name,
        /// What is wrong with it.
        #[source]
        source: TokenError,
    },
    /// The registry in this process refused.
    #[error("the registry refuses {name}")]
    Register {
        /// Whom.
        name: Name,
        /// Why.
        #[source]
        source: RegisterError,
    },
    /// The link in this process cannot be changed.
    #[error("the link of {name} cannot be changed")]
    Link {
        /// Whose link.
        name: Name,
        /// Why.
        #[source]
        source: LinkError,
    },
    /// The registry's relay could not go on.
    #[error("the relay in this process cannot go on")]
    Service(#[from] ServiceError),
    /// The kernel refused what the client needs for itself.
    #[error("the kernel refuses an fd")]
    Kernel(#[from] Errno),
}
