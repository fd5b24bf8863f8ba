//! A link: what it is found by, its two sides, and how its interrupts travel.

use std::cell::Cell;
use std::rc::Rc;

use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::Delivery;
use irqbroker_protocol::Name;
use irqbroker_protocol::PathPolicy;
use irqbroker_protocol::Reason;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::State as DeliveryState;

use super::object::Consumer;
use super::object::Producer;

/// What a link's sides find each other by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// The name both gave; of the user who came first.
    Name { uid: u32, name: Name },
    /// The eventfd both hold.
    Event(u64),
}

/// Who does what stands in the producer's eventfd belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taker {
    /// Nobody yet, or the consumer's process.
    Other,
    /// The daemon's relay, for this reason.
    Relay(Reason),
    /// Nobody: the producer signals the consumer's eventfd.
    Switched,
}

#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) key: Key,
    pub(crate) producer: Option<Producer>,
    pub(crate) consumer: Option<Consumer>,
    pub(crate) path: PathPolicy,
    /// Why the better path was declined; stays until a side or the policy changes.
    pub(crate) declined: Option<Reason>,
    pub(crate) taker: Taker,
    /// A side has left in this run, so that its partner shall let go of it.
    pub(crate) left: bool,
    /// What watchers were told last.
    pub(crate) shown: Delivery,
    pub(crate) events: Rc<Cell<u64>>,
}

impl Link {
    pub(crate) fn new(id: u64, key: Key) -> Self {
        Self {
            id,
            key,
            producer: None,
            consumer: None,
            path: PathPolicy::Auto,
            declined: None,
            taker: Taker::Other,
            left: false,
            shown: delivery(DeliveryState::Unmatched, ReasonCode::NoProducer),
            events: Rc::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.producer.is_none() && self.consumer.is_none()
    }

    /// Both sides hold the very same eventfd: the consumer's process sees to it.
    pub(crate) fn shares_one_event(&self) -> bool {
        matches!((&self.producer, &self.consumer), (Some(p), Some(c)) if p.token == c.token)
    }

    /// How its interrupts travel.
    pub(crate) fn delivery(&self) -> Delivery {
        let (Some(producer), Some(consumer)) = (&self.producer, &self.consumer) else {
            let missing = match self.producer {
                None => ReasonCode::NoProducer,
                Some(_) => ReasonCode::NoConsumer,
            };
            return delivery(DeliveryState::Unmatched, missing);
        };
        if consumer.masked {
            return delivery(DeliveryState::Masked, ReasonCode::Masked);
        }
        match &self.taker {
            Taker::Relay(reason) => Delivery {
                state: DeliveryState::Relay,
                reason: reason.clone(),
            },
            Taker::Switched => delivery(DeliveryState::Bypass, ReasonCode::Best),
            Taker::Other => match &consumer.pending {
                // The relay's, or on its way to the consumer: nobody takes events meanwhile.
                Some(_) => delivery(DeliveryState::Relay, ReasonCode::Held),
                None => self.by_the_consumer(producer, consumer),
            },
        }
    }

    /// How its interrupts travel where the consumer's process sees to it.
    fn by_the_consumer(&self, producer: &Producer, consumer: &Consumer) -> Delivery {
        let bound = consumer.attached.as_ref() == Some(&producer.token);
        match (&consumer.reported, consumer.takes) {
            (Some(reported), _) if bound || self.shares_one_event() => reported.clone(),
            (_, ConsumerTakes::OwnRead) => {
                delivery(DeliveryState::Relay, ReasonCode::UserSpaceConsumer)
            }
            _ => delivery(DeliveryState::Bypass, ReasonCode::Best),
        }
    }
}

/// A delivery with the usual text.
pub(crate) fn delivery(state: DeliveryState, code: ReasonCode) -> Delivery {
    Delivery {
        state,
        reason: reason(code),
    }
}

/// A reason of the daemon's own, with its text.
pub(crate) fn reason(code: ReasonCode) -> Reason {
    let text = match code {
        ReasonCode::Best => "best path",
        ReasonCode::NoProducer => "no producer has registered",
        ReasonCode::NoConsumer => "no consumer has registered",
        ReasonCode::ConnectRefused => "one side refused the other",
        ReasonCode::Masked => "masked by the consumer",
        ReasonCode::RelayRequested => "relay requested",
        ReasonCode::PromotionPending => "the owner has been told and has not answered yet",
        ReasonCode::Held => "events wait until the consumer has answered an instruction",
        ReasonCode::UserSpaceConsumer => "the consumer reads its eventfd in user space",
        ReasonCode::SourceCannotSwitch => {
            "the consumer binds only its own eventfd, and the producer cannot signal that"
        }
        _ => "the consumer's process declined",
    };
    Reason::new(code, text)
}
