//! A link: its two halves, what is asked of it, and how its interrupts travel.

use std::sync::Arc;

use crate::delivery::Delivery;
use crate::delivery::DeliveryState;
use crate::delivery::Reason;
use crate::event::Side;
use crate::info::Delivers;
use crate::info::Masking;
use crate::info::ProducerInfo;
use crate::info::ResampleEvent;
use crate::info::Trigger;
use crate::peer::Consumer;
use crate::peer::Producer;
use crate::token::Token;

/// Which ways the embedder allows a link's interrupts to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PathPolicy {
    /// The best there is.
    #[default]
    Auto,
    /// User space forwards.
    Relay,
    /// User space forwards, for a reason that the embedder has.
    RelayFor(Reason),
}

/// What happened to a link's interrupts on this side of the kernel. The kernel does not count
/// what it delivers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkCounters {
    /// Interrupts the relay injected.
    pub relayed: u64,
    /// Events the relay claimed; more than one per interrupt where they merged in the eventfd.
    pub claimed: u64,
    /// Interrupts that could not be injected.
    pub inject_failures: u64,
    /// Times the kernel took over, or the producer began to call a consumer that posts.
    pub promotions: u64,
    /// Times the relay took over from either.
    pub demotions: u64,
    /// Times the link was masked.
    pub masks: u64,
}

/// The live form of [`LinkCounters`]. A link that goes to the kernel and stays there counts only its
/// promotion; the rest has memory from the first of it on.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) promotions: u64,
    others: Option<Box<LinkCounters>>,
}

impl Counters {
    /// All but the promotions.
    pub(crate) fn others(&mut self) -> &mut LinkCounters {
        self.others.get_or_insert_default()
    }

    pub(crate) fn read(&self) -> LinkCounters {
        LinkCounters {
            promotions: self.promotions,
            ..self.others.as_deref().copied().unwrap_or_default()
        }
    }
}

/// The body of a slot. Everything in it is changed under the slot's lock.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) token: Token,
    pub(crate) producer: Option<Arc<dyn Producer>>,
    pub(crate) consumer: Option<Arc<dyn Consumer>>,
    pub(crate) policy: PathPolicy,
    /// The consumer's wish, kept while there is no producer.
    pub(crate) masked: bool,
    pub(crate) delivery: Delivery,
    pub(crate) counters: Counters,
    /// There from a successful connect to the disconnect.
    pub(crate) joint: Option<Joint>,
}

/// What holds while the two sides are connected.
#[derive(Debug)]
pub(crate) struct Joint {
    pub(crate) trigger: Trigger,
    pub(crate) masking: Masking,
    pub(crate) delivers: Delivers,
    /// The consumer's EOI event, if the relay listens to it.
    pub(crate) resample: Option<ResampleEvent>,
    /// Masked at the source, which then needs no other means.
    pub(crate) masked_at_source: bool,
    /// The kernel holds the eventfd, or the producer calls the consumer past it.
    pub(crate) attached: bool,
    /// The eventfd is in the relay's epoll set.
    pub(crate) polled: Polled,
    /// Why the kernel's shortcut was refused; stays until something changes.
    pub(crate) refused: Option<Reason>,
    /// Events may stand in the counter: the eventfd has been without a taker.
    pub(crate) fed: bool,
    /// On the queue of links to be promoted.
    pub(crate) queued: bool,
}

/// How the relay may read a link's eventfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Polled {
    /// Not in the epoll set.
    No,
    /// In the set, and a plain read returns at once.
    Nonblocking,
    /// In the set, and a plain read of an empty counter would block.
    Blocking,
}

/// Where a link has to go, before it is known whether the kernel agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    Masked,
    Relay(Reason),
    Bypass,
    Posted,
}

impl Joint {
    pub(crate) fn new(
        producer: &ProducerInfo,
        delivers: Delivers,
        resample: Option<ResampleEvent>,
    ) -> Self {
        Self {
            trigger: producer.trigger,
            masking: producer.masking,
            delivers,
            resample,
            masked_at_source: false,
            attached: false,
            polled: Polled::No,
            refused: None,
            fed: false,
            queued: false,
        }
    }

    /// The mask is at the source and costs nothing there. Not for level lines: their EOI handling
    /// unmasks the source, and would undo it.
    pub(crate) fn masks_at_source(&self) -> bool {
        self.masking == Masking::InProcess && self.trigger == Trigger::Edge
    }
}

impl Link {
    pub(crate) fn new(token: Token, policy: PathPolicy) -> Self {
        Self {
            token,
            producer: None,
            consumer: None,
            policy,
            masked: false,
            delivery: Delivery {
                state: DeliveryState::Unmatched,
                reason: Reason::NoProducer,
            },
            counters: Counters::default(),
            joint: None,
        }
    }

    /// The best state that what is known allows; `None` while not connected. Pure.
    pub(crate) fn aim(&self) -> Option<Aim> {
        let joint = self.joint.as_ref()?;
        Some(
            match (self.masked, self.policy, joint.delivers, joint.refused) {
                (true, ..) => Aim::Masked,
                (_, PathPolicy::Relay, ..) => Aim::Relay(Reason::RelayRequested),
                (_, PathPolicy::RelayFor(reason), ..) => Aim::Relay(reason),
                (_, _, Delivers::Relay(reason), _) => Aim::Relay(reason),
                (.., Some(reason)) => Aim::Relay(reason),
                (_, _, Delivers::Bypass, None) => Aim::Bypass,
                (_, _, Delivers::Posted, None) => Aim::Posted,
            },
        )
    }

    /// Both sides, if both are there.
    pub(crate) fn sides(&self) -> Option<(&dyn Producer, &dyn Consumer)> {
        Some((self.producer.as_deref()?, self.consumer.as_deref()?))
    }

    /// The name of whoever is on `side`.
    pub(crate) fn holder(&self, side: Side) -> Option<String> {
        match side {
            Side::Producer => self.producer.as_ref().map(|producer| producer.name()),
            Side::Consumer => self.consumer.as_ref().map(|consumer| consumer.name()),
        }
    }

    /// Why there is no link, by who is missing.
    pub(crate) fn missing(&self) -> Reason {
        if self.producer.is_none() {
            Reason::NoProducer
        } else {
            Reason::NoConsumer
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    use crate::ids::EventId;
    use std::os::fd::OwnedFd;

    fn link(delivers: Delivers) -> Link {
        let pin: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let token = Token::synthetic(EventId(1), Arc::new(pin));
        let mut link = Link::new(token, PathPolicy::Auto);
        link.joint = Some(Joint::new(&ProducerInfo::edge(), delivers, None));
        link
    }

    #[test]
    fn counters_are_read_together_wherever_they_are_kept() {
        let mut counters = Counters {
            promotions: 2,
            others: None,
        };
        let only_promoted = LinkCounters {
            promotions: 2,
            ..LinkCounters::default()
        };
        assert_eq!(counters.read(), only_promoted);

        counters.others().masks += 1;

        assert_eq!(
            counters.read(),
            LinkCounters {
                masks: 1,
                ..only_promoted
            }
        );
    }

    #[test]
    fn aim_without_a_connection_is_none() {
        let link = Link {
            joint: None,
            ..link(Delivers::Bypass)
        };
        assert_eq!(link.aim(), None);
    }

    #[test]
    fn aim_of_a_mask_overrules_every_path() {
        let link = Link {
            masked: true,
            policy: PathPolicy::Relay,
            ..link(Delivers::Bypass)
        };
        assert_eq!(link.aim(), Some(Aim::Masked));
    }

    #[test]
    fn aim_names_the_embedders_wish_before_the_consumers_inability() {
        let mut link = link(Delivers::Relay(Reason::NoInKernelIrqchip));
        assert_eq!(link.aim(), Some(Aim::Relay(Reason::NoInKernelIrqchip)));
        link.policy = PathPolicy::Relay;
        assert_eq!(link.aim(), Some(Aim::Relay(Reason::RelayRequested)));
    }

    #[test]
    fn aim_of_a_consumer_that_posts_is_to_post_unless_the_relay_is_asked_for() {
        let mut link = link(Delivers::Posted);
        assert_eq!(link.aim(), Some(Aim::Posted));
        link.policy = PathPolicy::Relay;
        assert_eq!(link.aim(), Some(Aim::Relay(Reason::RelayRequested)));
    }

    #[test]
    fn aim_after_a_refusal_is_the_relay_with_the_refusals_reason() {
        let refused = Reason::GsiExhausted { limit: 4096 };
        let mut link = link(Delivers::Bypass);
        assert_eq!(link.aim(), Some(Aim::Bypass));
        link.joint.as_mut().unwrap().refused = Some(refused);
        assert_eq!(link.aim(), Some(Aim::Relay(refused)));
    }
}
