//! The two sides of a link as they were registered.

use std::rc::Rc;

use irqbroker::Token;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::Delivery;
use irqbroker_protocol::InstructionId;
use irqbroker_protocol::Name;
use irqbroker_protocol::RegisterConsumer;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Route;

use super::register::ConsumerFds;
use super::session::SessionId;
use crate::serve::claim_fd::ClaimRecord;
use crate::serve::relay::ClaimSlot;

/// Whose an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The uid of the peer that registered it.
    pub(crate) uid: u32,
    /// Its connection; none while it lingers.
    pub(crate) session: Option<SessionId>,
    /// When a lingering object is withdrawn, in milliseconds of the daemon's clock.
    pub(crate) until: Option<u64>,
}

/// An instruction that has not been answered.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) id: InstructionId,
    pub(crate) what: What,
}

/// What was told.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// The consumer shall bind this.
    Attach(Token),
    /// The consumer shall unbind what it has bound.
    Detach,
    /// The producer shall signal this.
    Switch(Token),
    /// The producer shall signal its own again.
    SwitchBack,
}

/// The side that signals.
#[derive(Debug, Clone)]
pub(crate) struct Producer {
    pub(crate) owner: Owner,
    pub(crate) token: Token,
    /// As it was asked; its `name` is the producer's.
    pub(crate) request: RegisterProducer,
    /// What it signals in place of its own.
    pub(crate) switched_to: Option<Token>,
    pub(crate) pending: Option<Pending>,
}

/// The side that takes.
#[derive(Debug, Clone)]
pub(crate) struct Consumer {
    pub(crate) owner: Owner,
    pub(crate) name: Name,
    pub(crate) token: Token,
    pub(crate) takes: ConsumerTakes,
    pub(crate) route: Option<Route>,
    pub(crate) resample: Option<Token>,
    /// The producer's eventfd it has bound.
    pub(crate) attached: Option<Token>,
    pub(crate) masked: bool,
    /// Host processors on which the producer's interrupt is best handled, as it said last.
    pub(crate) affinity: Vec<u32>,
    /// How its process says it delivers, while it does.
    pub(crate) reported: Option<Delivery>,
    pub(crate) record: Option<Rc<ClaimRecord>>,
    pub(crate) slot: Option<u32>,
    pub(crate) pending: Option<Pending>,
}

impl Producer {
    /// Whether `request` would register it as it was. What it signals may have changed since by an
    /// instruction.
    pub(crate) fn is(&self, request: &RegisterProducer) -> bool {
        let but = RegisterProducer {
            event_id: self.request.event_id,
            switched: self.request.switched,
            ..request.clone()
        };
        self.request == but && (!request.switched || self.switched_to.is_some())
    }
}

impl Consumer {
    /// Whether `request` would register it as it was. What it may report may have changed since,
    /// and so may what it is bound to.
    pub(crate) fn is(&self, request: &RegisterConsumer, fds: &ConsumerFds) -> bool {
        self.takes == request.takes
            && self.resample == fds.resample
            && request.slot.is_none_or(|slot| self.slot == Some(slot))
            && fds
                .attached
                .as_ref()
                .is_none_or(|bound| self.attached.as_ref() == Some(bound))
    }

    /// Where claims for it are noted.
    pub(crate) fn claims(&self) -> Option<ClaimSlot> {
        Some(ClaimSlot {
            record: Rc::clone(self.record.as_ref()?),
            slot: self.slot?,
        })
    }
}
