//! The client itself: what a process registers, and how that changes.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use irqbroker_core::Consumer;
use irqbroker_core::Delivery;
use irqbroker_core::LinkError;
use irqbroker_core::MsiMessage;
use irqbroker_core::Registry;
use irqbroker_protocol::ConsumerReport;
use irqbroker_protocol::Name;
use irqbroker_protocol::Request;
use irqbroker_protocol::Side;
use irqbroker_protocol::Unregister;
use rustix::event::epoll;
use rustix::time::TimerfdClockId;
use rustix::time::TimerfdFlags;

use super::consumer::OwnConsumer;
use super::error::ControlError;
use super::event::ClientEvent;
use super::event_fd;
use super::options::ClientOptions;
use super::options::ConsumerSpec;
use super::options::ProducerSpec;
use super::producer::OwnProducer;
use super::wire::Asked;
use super::wire::Wire;

/// Events kept for an embedder that does not take them; the oldest goes first.
const KEPT_EVENTS: usize = 4096;

/// In the epoll set: the connection, the clock that says when to try again.
pub(super) const CONNECTION: u64 = 1;
pub(super) const CLOCK: u64 = 2;

/// A process's connection to the daemon, which outlives the daemon.
///
/// Consumers deliver through the [`Registry`] it is made with, which the embedder serves as
/// always. Nothing is sent or received outside the calls of this type.
pub struct ControlClient {
    pub(super) options: ClientOptions,
    pub(super) registry: Registry,
    pub(super) epoll: OwnedFd,
    pub(super) clock: OwnedFd,
    pub(super) wire: Option<Wire>,
    /// The daemon has shaken hands.
    pub(super) welcomed: bool,
    pub(super) failures: u32,
    /// Registrations of this connection that have not been answered.
    pub(super) unanswered: usize,
    pub(super) record: Option<OwnedFd>,
    pub(super) producers: BTreeMap<Name, OwnProducer>,
    pub(super) consumers: BTreeMap<Name, OwnConsumer>,
    pub(super) events: VecDeque<ClientEvent>,
}

impl ControlClient {
    /// A client whose consumers deliver through `registry`. The first
    /// [`service`](Self::service) connects.
    ///
    /// # Errors
    ///
    /// The kernel refused an fd.
    pub fn new(options: ClientOptions, registry: Registry) -> Result<Self, ControlError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let clock = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let data = epoll::EventData::new_u64(CLOCK);
        epoll::add(&epoll, &clock, data, epoll::EventFlags::IN)?;
        let new = Self {
            options,
            registry,
            epoll,
            clock,
            wire: None,
            welcomed: false,
            failures: 0,
            unanswered: 0,
            record: None,
            producers: BTreeMap::new(),
            consumers: BTreeMap::new(),
            events: VecDeque::new(),
        };
        new.try_again_now();
        Ok(new)
    }

    /// Readable when [`service`](Self::service) has work to do. Stays the same fd.
    #[must_use]
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Whether a daemon answers.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.welcomed
    }

    /// What happened since this was asked last, the oldest first.
    pub fn take_events(&mut self) -> impl Iterator<Item = ClientEvent> {
        std::mem::take(&mut self.events).into_iter()
    }

    /// Registers a producer, now and with every daemon to come.
    ///
    /// # Errors
    ///
    /// There is one of this name.
    pub fn produce(&mut self, spec: ProducerSpec) -> Result<(), ControlError> {
        let name = spec.name.clone();
        if self.producers.contains_key(&name) {
            let side = Side::Producer;
            return Err(ControlError::Duplicate { side, name });
        }
        self.producers.insert(name.clone(), OwnProducer::new(spec));
        self.register_one(Side::Producer, &name);
        Ok(())
    }

    /// Registers a consumer, now and with every daemon to come.
    ///
    /// # Errors
    ///
    /// There is one of this name, or the registry refuses it.
    pub fn consume(
        &mut self,
        spec: ConsumerSpec,
        consumer: Arc<dyn Consumer>,
    ) -> Result<(), ControlError> {
        let ConsumerSpec { name, link, event } = spec;
        if self.consumers.contains_key(&name) {
            let side = Side::Consumer;
            return Err(ControlError::Duplicate { side, name });
        }
        let own = match (event, &link) {
            (Some(event), _) => event,
            (None, Some(_)) => event_fd::fresh()?.map_err(|source| {
                let name = name.clone();
                ControlError::Event { name, source }
            })?,
            (None, None) => return Err(ControlError::NoKey { name }),
        };
        let new = OwnConsumer::new(&self.registry, (name.clone(), link), own, consumer);
        let new = new.map_err(|source| {
            let name = name.clone();
            ControlError::Register { name, source }
        })?;
        self.consumers.insert(name.clone(), new);
        self.register_one(Side::Consumer, &name);
        Ok(())
    }

    /// Withdraws a producer or a consumer, here and at the daemon.
    ///
    /// # Errors
    ///
    /// There is none of this name.
    pub fn withdraw(&mut self, side: Side, name: &Name) -> Result<(), ControlError> {
        let gone = match side {
            Side::Producer => self.producers.remove(name).is_some(),
            Side::Consumer => self.consumers.remove(name).is_some(),
        };
        if !gone {
            let name = name.clone();
            return Err(ControlError::Unknown { side, name });
        }
        let name = name.clone();
        self.ask(&Request::Unregister(Unregister { side, name }));
        Ok(())
    }

    /// Keeps a consumer's interrupts back. At once; the daemon and the producer are told.
    ///
    /// # Errors
    ///
    /// There is none of this name, or its link cannot be masked.
    pub fn mask(&mut self, name: &Name) -> Result<(), ControlError> {
        self.change(name, |consumer, registry| {
            change_link(consumer, registry, Registry::mask)?;
            consumer.masked = true;
            Ok(())
        })
    }

    /// Delivers a consumer's interrupts again, first what waited.
    ///
    /// # Errors
    ///
    /// There is none of this name, or its link cannot be unmasked.
    pub fn unmask(&mut self, name: &Name) -> Result<(), ControlError> {
        self.change(name, |consumer, registry| {
            change_link(consumer, registry, Registry::unmask)?;
            consumer.masked = false;
            Ok(())
        })
    }

    /// The guest has given a consumer another message.
    ///
    /// # Errors
    ///
    /// There is none of this name, or the message cannot be.
    pub fn update_route(&mut self, name: &Name, message: MsiMessage) -> Result<(), ControlError> {
        self.change(name, |consumer, registry| {
            change_link(consumer, registry, |registry, link| {
                registry.update_route(link, message)
            })
        })
    }

    /// Tells a consumer's producer on which host processors its interrupt is best handled, now and
    /// with every daemon to come.
    ///
    /// # Errors
    ///
    /// There is none of this name.
    pub fn hint(&mut self, name: &Name, processors: &[u32]) -> Result<(), ControlError> {
        let consumer = self.consumer(name)?;
        consumer.affinity = processors.to_vec();
        let report = ConsumerReport {
            affinity: Some(processors.to_vec()),
            ..consumer.report()
        };
        self.ask(&Request::Report(report));
        Ok(())
    }

    /// How a consumer's link in this process delivers, and whether it is bound to its producer's
    /// eventfd.
    ///
    /// # Errors
    ///
    /// There is none of this name.
    pub fn delivery(&self, name: &Name) -> Result<(Option<Delivery>, bool), ControlError> {
        let consumer = self.consumers.get(name).ok_or_else(|| unknown(name))?;
        Ok((consumer.delivery(), consumer.attached.is_some()))
    }

    fn consumer(&mut self, name: &Name) -> Result<&mut OwnConsumer, ControlError> {
        self.consumers.get_mut(name).ok_or_else(|| unknown(name))
    }

    /// Changes a consumer and reports how it stands then.
    fn change(
        &mut self,
        name: &Name,
        change: impl FnOnce(&mut OwnConsumer, &Registry) -> Result<(), LinkError>,
    ) -> Result<(), ControlError> {
        let registry = self.registry.clone();
        let consumer = self.consumer(name)?;
        change(consumer, &registry).map_err(|source| ControlError::Link {
            name: name.clone(),
            source,
        })?;
        let report = consumer.report();
        self.ask(&Request::Report(report));
        Ok(())
    }

    /// Asks what needs no fds, if a daemon answers: a reconnect tells everything anew.
    pub(super) fn ask(&mut self, request: &Request) {
        if self.welcomed
            && let Some(wire) = &mut self.wire
            && wire.ask(request, &[], Asked::Other).is_err()
        {
            self.lose();
        }
        self.poll_for_room();
    }

    /// Keeps an event for the embedder.
    pub(super) fn note(&mut self, event: ClientEvent) {
        if self.events.len() == KEPT_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

fn change_link(
    consumer: &OwnConsumer,
    registry: &Registry,
    change: impl FnOnce(&Registry, irqbroker_core::LinkId) -> Result<(), LinkError>,
) -> Result<(), LinkError> {
    match consumer.handle() {
        Some(handle) => change(registry, handle.link()),
        None => Ok(()),
    }
}

fn unknown(name: &Name) -> ControlError {
    ControlError::Unknown {
        side: Side::Consumer,
        name: name.clone(),
    }
}

impl fmt::Debug for ControlClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlClient")
            .field("socket", &self.options.socket)
            .field("connected", &self.welcomed)
            .field("producers", &self.producers.len())
            .field("consumers", &self.consumers.len())
            .finish_non_exhaustive()
    }
}
