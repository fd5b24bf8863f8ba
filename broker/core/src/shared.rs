//! What the parts of a registry share.
//!
//! Lock order: a link's lock, then one of the leaves: [`Promotions`], the subscribers, whatever a
//! consumer or producer locks in a callback. Never two links' locks at once.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::delivery::Delivery;
use crate::event::Event;
use crate::event::Subscribers;
use crate::ids::LinkId;
use crate::link::Link;
use crate::link::PathPolicy;
use crate::poller::Poller;
use crate::promote::Promotions;
use crate::slots::SlotTable;

/// When a link is handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Promotion {
    /// On the thread that connects, unmasks or retargets; that thread then waits for the commit.
    #[default]
    Immediate,
    /// By the next [`service`](crate::Registry::service), all that are due with one commit. Until
    /// then the relay delivers.
    Deferred,
}

/// How a registry behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// When a link is handed to the kernel.
    pub promotion: Promotion,
    /// The path policy new links start with.
    pub path: PathPolicy,
}

/// What the relay did, each call being one system call. Counts are exact once the relay rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelayCounters {
    /// Times `epoll_wait` returned, interruptions by a signal or a stop left out.
    pub waits: u64,
    /// Reads of an eventfd.
    pub claims: u64,
    /// Interrupts injected.
    pub injections: u64,
    /// Sources unmasked for a guest's EOI.
    pub unmasks: u64,
}

/// The live form of [`RelayCounters`]. All Relaxed: counts, which order nothing.
#[derive(Debug, Default)]
pub(crate) struct RelayCounts {
    pub(crate) waits: AtomicU64,
    pub(crate) claims: AtomicU64,
    pub(crate) injections: AtomicU64,
    pub(crate) unmasks: AtomicU64,
}

impl RelayCounts {
    pub(crate) fn read(&self) -> RelayCounters {
        RelayCounters {
            waits: self.waits.load(Ordering::Relaxed),
            claims: self.claims.load(Ordering::Relaxed),
            injections: self.injections.load(Ordering::Relaxed),
            unmasks: self.unmasks.load(Ordering::Relaxed),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) table: SlotTable<Link>,
    pub(crate) poller: Poller,
    pub(crate) promotions: Mutex<Promotions>,
    pub(crate) subscribers: Subscribers,
    pub(crate) counts: RelayCounts,
    pub(crate) options: Options,
}

impl Shared {
    /// Records how the link's interrupts travel from here on, and tells who listens.
    pub(crate) fn set_delivery(&self, id: LinkId, link: &mut Link, to: &Delivery) {
        let (from, to) = (link.delivery, *to);
        if from != to {
            link.delivery = to;
            tracing::debug!(link = %id, from = %from.state, to = %to.state, reason = %to.reason);
            self.subscribers
                .tell(Event::Delivery { link: id, from, to });
        }
    }
}
