//! A read-only picture of a link.

use crate::delivery::Delivery;
use crate::ids::EventId;
use crate::ids::LinkId;
use crate::info::ProducerInfo;
use crate::info::RouteInfo;
use crate::link::Link;
use crate::link::LinkCounters;
use crate::link::PathPolicy;

/// A link as it stood when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSnapshot {
    /// The link.
    pub id: LinkId,
    /// The eventfd its sides came with.
    pub event: EventId,
    /// The producer's name.
    pub producer: Option<String>,
    /// What the producer tells of itself.
    pub source: Option<ProducerInfo>,
    /// The consumer's name.
    pub consumer: Option<String>,
    /// How its interrupts travel, and why not on a better way.
    pub delivery: Delivery,
    /// Where they go.
    pub route: Option<RouteInfo>,
    /// What the embedder allows.
    pub policy: PathPolicy,
    /// What happened so far.
    pub counters: LinkCounters,
}

impl LinkSnapshot {
    pub(crate) fn of(id: LinkId, link: &Link) -> Self {
        Self {
            id,
            event: link.token.id(),
            producer: link.producer.as_ref().map(|producer| producer.name()),
            source: link.producer.as_ref().map(|producer| producer.info()),
            consumer: link.consumer.as_ref().map(|consumer| consumer.name()),
            delivery: link.delivery,
            route: link.consumer.as_ref().and_then(|consumer| consumer.route()),
            policy: link.policy,
            counters: link.counters.read(),
        }
    }
}
