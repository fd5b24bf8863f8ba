//! The registry: where producers and consumers find each other by token.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::Mutex;

use crossbeam_channel::Receiver;

use crate::connect::ConnectError;
use crate::delivery::Delivery;
use crate::delivery::DeliveryState;
use crate::delivery::Reason;
use crate::error::LinkError;
use crate::error::RegisterError;
use crate::error::RegistryError;
use crate::error::ServiceError;
use crate::event::Event;
use crate::event::Side;
use crate::event::Subscribers;
use crate::handle::ConsumerHandle;
use crate::handle::ProducerHandle;
use crate::ids::LinkId;
use crate::info::MsiMessage;
use crate::link::Link;
use crate::link::PathPolicy;
use crate::peer::Consumer;
use crate::peer::Producer;
use crate::poller::Poller;
use crate::poller::Wait;
use crate::promote::Hold;
use crate::promote::Promoted;
use crate::promote::Promotions;
use crate::reentrancy;
use crate::reentrancy::Callbacks;
use crate::relay::Serviced;
use crate::shared::Options;
use crate::shared::RelayCounters;
use crate::shared::RelayCounts;
use crate::shared::Shared;
use crate::slots::SlotTable;
use crate::token::Token;

/// Pairs producers and consumers, and delivers for the pairs that the kernel does not.
///
/// Starts no threads. Whoever wants links in relay to deliver, or promotions to be deferred, polls
/// [`poll_fd`](Self::poll_fd) for reading and calls [`service`](Self::service), or takes a
/// [`RelayThread`](crate::RelayThread). Clones are the same registry.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

impl PartialEq for Registry {
    /// Whether they are the same registry.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for Registry {}

/// One side on its way into the registry.
#[derive(Debug)]
enum Newcomer {
    Producer(Arc<dyn Producer>),
    Consumer(Arc<dyn Consumer>),
}

impl Registry {
    /// A registry with the default options.
    ///
    /// # Errors
    ///
    /// The relay's epoll set cannot be created.
    pub fn new() -> Result<Self, RegistryError> {
        Self::with_options(Options::default())
    }

    /// A registry that behaves as `options` say.
    ///
    /// # Errors
    ///
    /// The relay's epoll set cannot be created.
    pub fn with_options(options: Options) -> Result<Self, RegistryError> {
        Ok(Self {
            shared: Arc::new(Shared {
                table: SlotTable::new(),
                poller: Poller::new().map_err(|source| RegistryError { source })?,
                promotions: Mutex::new(Promotions::default()),
                subscribers: Subscribers::default(),
                counts: RelayCounts::default(),
                options,
            }),
        })
    }

    /// Registers the side that signals `token`. If its consumer is there, the two are connected.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`]; the producer is not registered then.
    pub fn register_producer(
        &self,
        token: Token,
        producer: Arc<dyn Producer>,
    ) -> Result<ProducerHandle, RegisterError> {
        let link = self.register(token, Newcomer::Producer(producer))?;
        Ok(ProducerHandle::new(self.clone(), link))
    }

    /// Registers the side that takes the events of `token`. If its producer is there, the two are
    /// connected.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`]; the consumer is not registered then.
    pub fn register_consumer(
        &self,
        token: Token,
        consumer: Arc<dyn Consumer>,
    ) -> Result<ConsumerHandle, RegisterError> {
        let link = self.register(token, Newcomer::Consumer(consumer))?;
        Ok(ConsumerHandle::new(self.clone(), link))
    }

    fn register(&self, token: Token, newcomer: Newcomer) -> Result<LinkId, RegisterError> {
        reentrancy::forbid();
        let event = token.id();
        let mut occupied = self
            .shared
            .table
            .enter(event, || Link::new(token, self.shared.options.path))
            .map_err(|_| RegisterError::Full { event })?;
        let id = occupied.id();
        let Some(link) = occupied.body() else {
            return Err(RegisterError::Full { event });
        };
        let side = newcomer.side();
        if let Some(holder) = link.holder(side) {
            return Err(RegisterError::Duplicate {
                event,
                side,
                holder,
            });
        }
        if let Newcomer::Consumer(consumer) = &newcomer {
            let _callbacks = Callbacks::begin();
            consumer.registered(id);
        }
        newcomer.put_into(link);
        self.shared.subscribers.tell(Event::Registered {
            link: id,
            event,
            side,
        });
        if link.sides().is_none() {
            link.delivery.reason = link.missing();
            return Ok(id);
        }
        let Err(error) = self.shared.connect(id, link) else {
            return Ok(id);
        };
        tracing::warn!(link = %id, ?error, "the two sides were not connected");
        let removed = link.take(side);
        link.delivery = Delivery {
            state: DeliveryState::Unmatched,
            reason: Reason::ConnectRefused,
        };
        self.shared.subscribers.tell(Event::Refused { link: id });
        self.shared
            .subscribers
            .tell(Event::Unregistered { link: id, side });
        // Peers may do anything in their drop: not under the link's lock.
        drop(occupied);
        drop(removed);
        Err(match error {
            ConnectError::Refused(source) => RegisterError::Refused { event, source },
            ConnectError::Level(source) => RegisterError::Level { event, source },
            ConnectError::Poll(source) => RegisterError::Poll { event, source },
            ConnectError::Link(source) => RegisterError::Link { event, source },
        })
    }

    pub(crate) fn unregister(&self, id: LinkId, side: Side) {
        reentrancy::forbid();
        let Some(mut occupied) = self.shared.table.lock(id) else {
            return;
        };
        let Some(link) = occupied.body() else { return };
        self.shared.disconnect(id, link, side);
        let removed = link.take(side);
        self.shared
            .subscribers
            .tell(Event::Unregistered { link: id, side });
        if link.producer.is_some() || link.consumer.is_some() {
            drop(occupied);
            drop(removed);
        } else {
            let emptied = self.shared.table.vacate(occupied);
            drop((removed, emptied));
        }
    }

    /// Changes a link under its lock.
    pub(crate) fn change<T>(
        &self,
        id: LinkId,
        change: impl FnOnce(&Shared, &mut Link) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        reentrancy::forbid();
        let stale = LinkError::Stale { link: id };
        let Some(mut occupied) = self.shared.table.lock(id) else {
            return Err(stale);
        };
        let Some(link) = occupied.body() else {
            return Err(stale);
        };
        let _callbacks = Callbacks::begin();
        change(&self.shared, link)
    }

    /// Keeps the link's interrupts back; they wait in the eventfd, or at an in-process source.
    /// Holds until [`unmask`](Self::unmask) or until the consumer leaves.
    ///
    /// # Errors
    ///
    /// See [`LinkError`]; the link is as it was.
    pub fn mask(&self, id: LinkId) -> Result<(), LinkError> {
        self.change(id, |shared, link| {
            if std::mem::replace(&mut link.masked, true) {
                return Ok(());
            }
            link.counters.others().masks += 1;
            shared.settle(id, link).inspect_err(|_| link.masked = false)
        })
    }

    /// Delivers the link's interrupts again, first what waited.
    ///
    /// # Errors
    ///
    /// See [`LinkError`]; the link is as it was.
    pub fn unmask(&self, id: LinkId) -> Result<(), LinkError> {
        self.change(id, |shared, link| {
            if !std::mem::replace(&mut link.masked, false) {
                return Ok(());
            }
            shared.settle(id, link).inspect_err(|_| link.masked = true)
        })
    }

    /// Allows or forbids the kernel's shortcut: demotes a bypassed link, promotes a relayed one.
    ///
    /// # Errors
    ///
    /// See [`LinkError`]; the link is as it was.
    pub fn set_path(&self, id: LinkId, policy: PathPolicy) -> Result<(), LinkError> {
        self.change(id, |shared, link| {
            let old = std::mem::replace(&mut link.policy, policy);
            shared.settle(id, link).inspect_err(|_| link.policy = old)
        })
    }

    /// Tries the kernel's shortcut again on a link to which it was refused, now.
    ///
    /// # Errors
    ///
    /// See [`LinkError`]. A refusal by the kernel is none: the link's delivery tells it.
    pub fn promote(&self, id: LinkId) -> Result<Delivery, LinkError> {
        self.change(id, |shared, link| {
            if let Some(joint) = &mut link.joint {
                joint.refused = None;
            }
            shared.settle_now(id, link)?;
            Ok(link.delivery)
        })
    }

    /// The guest has given the link's interrupt another message.
    ///
    /// # Errors
    ///
    /// See [`LinkError`]; the old message holds.
    pub fn update_route(&self, id: LinkId, message: MsiMessage) -> Result<(), LinkError> {
        self.change(id, |shared, link| shared.retarget(id, link, message))
    }

    /// The links there are, by slot.
    pub(crate) fn link_ids(&self) -> impl Iterator<Item = LinkId> + '_ {
        reentrancy::forbid();
        self.shared.table.ids()
    }

    /// Keeps promotions back until the returned hold, and every other, is gone.
    pub fn hold_promotions(&self) -> Hold {
        self.shared.hold()
    }

    /// Promotes now what deferred promotion has queued up.
    pub fn promote_queued(&self) -> Promoted {
        reentrancy::forbid();
        self.shared.promote_queued()
    }

    /// The events from here on, `capacity` of them at most between two receives; a subscriber
    /// that is slower gets [`Event::Lagged`]. Dropping the receiver ends the subscription.
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> Receiver<Event> {
        self.shared.subscribers.add(capacity)
    }

    /// Readable when [`service`](Self::service) has work to do.
    #[must_use]
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.shared.poller.as_fd()
    }

    /// One round of the relay: at most 64 events, then promotions that are due.
    ///
    /// # Errors
    ///
    /// The wait failed for good; what had been reported is done.
    pub fn service(&self, wait: Wait) -> Result<Serviced, ServiceError> {
        reentrancy::forbid();
        self.shared.service(wait)
    }

    /// Makes one thread that waits in [`service`](Self::service) return.
    pub fn wake(&self) {
        self.shared.poller.kick();
    }

    /// What the relay did so far.
    #[must_use]
    pub fn relay_counters(&self) -> RelayCounters {
        self.shared.counts.read()
    }
}

impl Newcomer {
    fn side(&self) -> Side {
        match self {
            Self::Producer(_) => Side::Producer,
            Self::Consumer(_) => Side::Consumer,
        }
    }

    fn put_into(self, link: &mut Link) {
        match self {
            Self::Producer(producer) => link.producer = Some(producer),
            Self::Consumer(consumer) => link.consumer = Some(consumer),
        }
    }
}

impl Link {
    /// Takes `side` away, and with a consumer what it had asked for.
    fn take(&mut self, side: Side) -> Option<Newcomer> {
        match side {
            Side::Producer => self.producer.take().map(Newcomer::Producer),
            Side::Consumer => {
                self.masked = false;
                self.consumer.take().map(Newcomer::Consumer)
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod connect_tests;
#[cfg(test)]
#[cfg(not(loom))]
mod delivery_tests;
#[cfg(test)]
#[cfg(not(loom))]
mod demote_tests;
#[cfg(test)]
#[cfg(not(loom))]
mod fakes;
