//! Links that a story changes at will, on either world.

use std::sync::Arc;

use irqbroker_core::ConsumerHandle;
use irqbroker_core::ConsumerInfo;
use irqbroker_core::LocalProducer;
use irqbroker_core::PathPolicy;
use irqbroker_core::PeerError;
use irqbroker_core::Producer;
use irqbroker_core::ProducerHandle;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Registry;
use irqbroker_core::ResampleBinding;
use irqbroker_core::Token;
use irqbroker_core::Vector;
use irqbroker_core::Wait;
use rustix::event::EventfdFlags;

use crate::world::World;
use crate::world::message;

/// First vector of the stories' links, each of which has two.
const FIRST_VECTOR: u8 = 0x40;

/// A producer that somebody else signals, and that cannot be masked at the source.
#[derive(Debug)]
pub(crate) struct Device;

impl Producer for Device {
    fn name(&self) -> String {
        "device".into()
    }
    fn info(&self) -> ProducerInfo {
        ProducerInfo::edge()
    }
    fn add_consumer(&self, _consumer: &ConsumerInfo) -> Result<ResampleBinding, PeerError> {
        Ok(ResampleBinding::Relay)
    }
    fn del_consumer(&self) {}
}

/// What signals a link's eventfd.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// In this process, masked at the source.
    Local(Arc<LocalProducer>),
    /// Elsewhere: a plain write.
    Device(Token),
}

impl Source {
    fn new(at: usize) -> anyhow::Result<Self> {
        if at.is_multiple_of(2) {
            return Ok(Self::Local(LocalProducer::new(format!("local{at}"))?));
        }
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self::Device(Token::of(event)?))
    }

    pub(crate) fn token(&self) -> &Token {
        match self {
            Self::Local(producer) => producer.token(),
            Self::Device(token) => token,
        }
    }

    pub(crate) fn signal(&self) {
        match self {
            Self::Local(producer) => producer.signal(),
            Self::Device(token) => {
                // Refused only when the counter is full, which no story gets to.
                let _ = rustix::io::write(token, &1u64.to_ne_bytes());
            }
        }
    }

    fn producer(&self) -> Arc<dyn Producer> {
        match self {
            Self::Local(producer) => producer.clone(),
            Self::Device(_) => Arc::new(Device),
        }
    }
}

/// A link with whatever sides it has right now.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) source: Source,
    pub(crate) producer: Option<ProducerHandle>,
    pub(crate) consumer: Option<ConsumerHandle>,
    vectors: [Vector; 2],
    target: usize,
    pub(crate) masked: bool,
}

/// A random change of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Mask,
    Unmask,
    Retarget,
    Demote,
    Promote,
    ProducerLeaves,
    ProducerComes,
    ConsumerLeaves,
    ConsumerComes,
}

impl Change {
    pub(crate) const ALL: [Self; 9] = [
        Self::Mask,
        Self::Unmask,
        Self::Retarget,
        Self::Demote,
        Self::Promote,
        Self::ProducerLeaves,
        Self::ProducerComes,
        Self::ConsumerLeaves,
        Self::ConsumerComes,
    ];
}

impl Party {
    /// A party of nobody yet; `at` tells it from others.
    pub(crate) fn new(at: usize) -> anyhow::Result<Self> {
        let first = FIRST_VECTOR + u8::try_from(2 * at)?;
        Ok(Self {
            source: Source::new(at)?,
            producer: None,
            consumer: None,
            vectors: [Vector(first), Vector(first + 1)],
            target: 0,
            masked: false,
        })
    }

    /// The vector it has now.
    pub(crate) fn vector(&self) -> Vector {
        self.vectors[self.target]
    }

    /// Interrupts the VM has taken for this link.
    pub(crate) fn delivered(&self, world: &dyn World) -> u64 {
        self.vectors
            .iter()
            .map(|vector| world.delivered(*vector))
            .sum()
    }

    /// Whether a signal gets through.
    pub(crate) fn open(&self) -> bool {
        self.producer.is_some() && self.consumer.is_some() && !self.masked
    }

    /// Makes the change, if it is one.
    pub(crate) fn change(
        &mut self,
        change: Change,
        registry: &Registry,
        world: &dyn World,
    ) -> anyhow::Result<()> {
        let token = self.source.token().clone();
        match change {
            Change::ProducerLeaves => drop(self.producer.take()),
            Change::ProducerComes if self.producer.is_none() => {
                self.producer = Some(registry.register_producer(token, self.source.producer())?);
            }
            Change::ConsumerLeaves => {
                drop(self.consumer.take());
                self.masked = false;
            }
            Change::ConsumerComes if self.consumer.is_none() => {
                let consumer = world.domain().msi("story", self.message(), None)?;
                self.consumer = Some(registry.register_consumer(token, consumer)?);
            }
            Change::Retarget if self.consumer.is_some() => {
                self.target ^= 1;
                let message = self.message();
                self.with_consumer(|consumer| consumer.update_route(message))?;
            }
            Change::Mask if self.consumer.is_some() => {
                self.with_consumer(ConsumerHandle::mask)?;
                self.masked = true;
            }
            Change::Unmask => {
                self.with_consumer(ConsumerHandle::unmask)?;
                self.masked = false;
            }
            Change::Demote => self
                .with_consumer(|consumer| registry.set_path(consumer.link(), PathPolicy::Relay))?,
            Change::Promote => {
                self.with_consumer(|consumer| {
                    registry.set_path(consumer.link(), PathPolicy::Auto)
                })?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Both sides there, unmasked.
    pub(crate) fn open_up(&mut self, registry: &Registry, world: &dyn World) -> anyhow::Result<()> {
        for change in [Change::ProducerComes, Change::ConsumerComes, Change::Unmask] {
            self.change(change, registry, world)?;
        }
        Ok(())
    }

    fn message(&self) -> irqbroker_core::MsiMessage {
        message(self.vectors[self.target])
    }

    fn with_consumer<E>(
        &self,
        call: impl FnOnce(&ConsumerHandle) -> Result<(), E>,
    ) -> Result<(), E> {
        self.consumer.as_ref().map_or(Ok(()), call)
    }
}

/// Services the relay until it has nothing left, and lets the VM come to rest.
pub(crate) fn settle(registry: &Registry, world: &dyn World) -> anyhow::Result<()> {
    while registry.service(Wait::No)?.events > 0 {}
    world.settle()
}
