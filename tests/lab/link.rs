//! One interrupt of a device on its way to the nested guest, by every path the broker has.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_core::Consumer;
use irqbroker_core::ConsumerHandle;
use irqbroker_core::DeliveryState;
use irqbroker_core::PathPolicy;
use irqbroker_core::ProducerHandle;
use irqbroker_core::Registry;
use irqbroker_core::RelayThread;
use irqbroker_core::Token;
use irqbroker_vfio::HostIrq;
use rustix::event::PollFd;
use rustix::event::PollFlags;

use crate::devices::Source;
use crate::findings::Account;
use crate::machine::PATIENCE;
use crate::machine::visit_processors;
use crate::nested::Nested;
use crate::nested::message;

/// Events of each path: a story wants to see that it holds, not how fast it is.
const ROUNDS: u64 = 20;

/// The broker, with a thread for what the kernel does not deliver.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) registry: Registry,
    _relay: RelayThread,
}

impl Broker {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let registry = Registry::new()?;
        let relay = RelayThread::spawn(registry.clone(), || {})?;
        Ok(Self {
            registry,
            _relay: relay,
        })
    }

    /// Events that the relay took, interrupts it injected and sources it unmasked so far. Not its wake-ups: what a
    /// change of a link rouses it for may be long done when it comes to run.
    pub(crate) fn relayed(&self) -> [u64; 3] {
        let counters = self.registry.relay_counters();
        [counters.claims, counters.injections, counters.unmasks]
    }
}

/// Makes the device have an event.
pub(crate) type Raise<'a> = &'a dyn Fn() -> anyhow::Result<()>;

/// A link, and what came through it.
#[derive(Debug)]
pub(crate) struct Link {
    registry: Registry,
    token: Token,
    _producer: ProducerHandle,
    consumer: ConsumerHandle,
    /// What the device really sent.
    host: HostIrq,
    /// The vector its events go to.
    vector: u8,
    pub(crate) account: Account,
}

/// Where a round begins and ends: nothing is in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// Interrupts that this machine's kernel has had.
    pub(crate) produced: u64,
    /// Runs of the nested guest's handler.
    pub(crate) delivered: u64,
}

impl Link {
    /// Pairs a device's interrupt with a consumer whose route leads to `vector`.
    pub(crate) fn new(
        broker: &Broker,
        source: Source,
        consumer: Arc<dyn Consumer>,
        vector: u8,
    ) -> anyhow::Result<Self> {
        let registry = broker.registry.clone();
        let token = source.token;
        Ok(Self {
            _producer: registry.register_producer(token.clone(), source.producer)?,
            consumer: registry.register_consumer(token.clone(), consumer)?,
            token,
            registry,
            host: source.host,
            vector,
            account: Account::default(),
        })
    }

    /// The vector its events go to.
    pub(crate) const fn vector(&self) -> u8 {
        self.vector
    }

    /// Fails unless the link is in this state.
    pub(crate) fn require(&self, state: DeliveryState) -> anyhow::Result<()> {
        let delivery = self.consumer.delivery()?;
        ensure!(delivery.state == state, "not in {state}: {delivery:?}");
        Ok(())
    }

    /// Events one after the other, each waited for.
    pub(crate) fn paced(&mut self, nested: &Nested, raise: Raise<'_>) -> anyhow::Result<()> {
        for _ in 0..ROUNDS {
            let start = self.mark(nested)?;
            raise()?;
            self.close(nested, start)?;
        }
        Ok(())
    }

    /// The same through user space, and back.
    pub(crate) fn relayed(&mut self, nested: &Nested, raise: Raise<'_>) -> anyhow::Result<()> {
        let link = self.consumer.link();
        self.registry.set_path(link, PathPolicy::Relay)?;
        self.require(DeliveryState::Relay)?;
        self.paced(nested, raise)?;
        self.registry.set_path(link, PathPolicy::Auto)?;
        self.require(DeliveryState::Bypass)
    }

    /// Events while the guest has the vector masked: each stays in the eventfd until the unmask.
    pub(crate) fn masked(&mut self, nested: &Nested, raise: Raise<'_>) -> anyhow::Result<()> {
        for _ in 0..ROUNDS {
            self.consumer.mask()?;
            // Not before the mask: what comes late of the round before it would still interrupt.
            let start = self.mark(nested)?;
            raise()?;
            self.wait_pending()?;
            nested.settle()?;
            let delivered = nested.delivered(self.vector);
            ensure!(delivered == start.delivered, "a masked vector interrupted");
            self.consumer.unmask()?;
            self.close(nested, start)?;
        }
        Ok(())
    }

    /// Another vector, as when a guest rewrites an entry of its MSI-X table.
    pub(crate) fn retarget(&mut self, vector: u8) -> anyhow::Result<()> {
        self.consumer.update_route(message(vector))?;
        self.vector = vector;
        Ok(())
    }

    /// Waits for at least one interrupt, and for whatever else comes; closes the round there.
    fn close(&mut self, nested: &Nested, start: Mark) -> anyhow::Result<()> {
        nested.wait(self.vector, start.delivered + 1)?;
        let end = self.mark(nested)?;
        self.account.round(
            end.produced - start.produced,
            end.delivered - start.delivered,
        );
        Ok(())
    }

    /// Both counts, of one moment: nothing came from the device while the guest came to rest.
    pub(crate) fn mark(&self, nested: &Nested) -> anyhow::Result<Mark> {
        let mut produced = self.host.count()?;
        loop {
            visit_processors()?;
            self.relay_all()?;
            nested.settle()?;
            let delivered = nested.delivered(self.vector);
            let now = self.host.count()?;
            if now == produced {
                return Ok(Mark {
                    produced,
                    delivered,
                });
            }
            produced = now;
        }
    }

    /// Waits until the relay has injected what it is to deliver.
    fn relay_all(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        // Asking takes the link's lock, under which the relay claims and injects.
        while self.consumer.delivery()?.state == DeliveryState::Relay && self.token.pending()? > 0 {
            ensure!(Instant::now() < deadline, "an event is stuck in the relay");
            std::thread::yield_now();
        }
        self.consumer.delivery()?;
        Ok(())
    }

    /// Waits until the event stands in the eventfd.
    fn wait_pending(&self) -> anyhow::Result<()> {
        let mut fds = [PollFd::new(&self.token, PollFlags::IN)];
        let ready = rustix::event::poll(&mut fds, Some(&PATIENCE.try_into()?))?;
        (ready == 1).then_some(()).context("no event came")
    }
}
