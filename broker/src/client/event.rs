//! What an embedder may want to know.

use std::os::fd::OwnedFd;

use irqbroker_core::MsiMessage;
use irqbroker_protocol::Name;
use irqbroker_protocol::Side;
use irqbroker_protocol::WireError;

/// Something that happened between the client and the daemon.
#[derive(Debug)]
pub enum ClientEvent {
    /// A daemon answers; what is registered here is being registered there.
    Connected {
        /// A number that differs from that of every earlier run of the daemon.
        run: u64,
    },
    /// The daemon refused the connection, or closes it: the next attempt may fare no better.
    Rejected {
        /// Why.
        error: WireError,
    },
    /// The daemon is gone. Bound links go on, relayed ones wait.
    Disconnected,
    /// Everything that is registered here is registered there.
    Registered,
    /// The daemon refused an object; it is tried again with the next connection.
    Refused {
        /// Which side.
        side: Side,
        /// Its name.
        name: Name,
        /// Why.
        error: WireError,
    },
    /// An object has a partner, or none any more.
    Paired {
        /// Which side the object is.
        side: Side,
        /// Its name.
        name: Name,
        /// The partner's name.
        partner: Option<Name>,
        /// For a level producer: signalled at the guest's EOI, to be taken as the unmask event.
        resample: Option<OwnedFd>,
    },
    /// A consumer was bound to its producer's eventfd, or let go of it.
    Bound {
        /// The consumer.
        name: Name,
        /// Whether it is bound now.
        bound: bool,
    },
    /// The consumer of a producer was masked or unmasked. Events wait either way.
    Masked {
        /// The producer.
        producer: Name,
        /// Whether it is masked now.
        masked: bool,
    },
    /// The guest gave the interrupt of a producer another message.
    Message {
        /// The producer.
        producer: Name,
        /// The message.
        message: MsiMessage,
    },
    /// Where a producer's interrupt is best handled.
    Affinity {
        /// The producer.
        producer: Name,
        /// Host processors.
        processors: Vec<u32>,
    },
}
