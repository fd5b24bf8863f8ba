//! What has to be done outside for the state to be true.

use irqbroker::Token;
use irqbroker_protocol::EventKind;
use irqbroker_protocol::Notice;

use super::session::SessionId;
use crate::serve::relay::ClaimSlot;
use crate::serve::relay::Forwarding;
use crate::serve::relay::LastClaim;

/// Something to be done, in the order given.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// Forward a link.
    StartRelay { link: u64, forwarding: Forwarding },
    /// Forward it no longer.
    StopRelay { link: u64, last: LastClaim },
    /// Deliver what an earlier daemon claimed and did not deliver, if it did.
    Recover {
        link: u64,
        claims: ClaimSlot,
        sink: Token,
    },
    /// Tell a peer.
    Tell {
        session: SessionId,
        notice: Notice,
        fds: Vec<Token>,
    },
    /// Tell whoever watches.
    Event(EventKind),
}
