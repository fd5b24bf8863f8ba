//! Level interrupts: forwarded by the kernel, forwarded by the relay, and the embedder's own pins.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_core::Bypass;
use irqbroker_core::Consumer;
use irqbroker_core::ConsumerInfo;
use irqbroker_core::DeliveryState;
use irqbroker_core::LevelRelay;
use irqbroker_core::Mask;
use irqbroker_core::PathPolicy;
use irqbroker_core::PeerError;
use irqbroker_core::Producer;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Registry;
use irqbroker_core::ResampleBinding;
use irqbroker_core::ResampleEvent;
use irqbroker_core::RouteDomain;
use irqbroker_core::Token;
use irqbroker_kvm::LineLevel;
use irqbroker_kvm::PinConsumer;
use libtest_mimic::Trial;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::eventfd;

use crate::bench::Change;
use crate::bench::Party;
use crate::bench::settle;
use crate::world::EDGE_PIN;
use crate::world::LEVEL_PIN;
use crate::world::World;
use crate::world::on_both;

/// Rounds of assert, serve, unmask.
const ROUNDS: u64 = 200;

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = Vec::new();
    stories.extend(on_both(
        "forwarded_level_interrupt_unmasks_its_source_without_the_broker",
        forwarded,
    ));
    stories.extend(on_both(
        "level_link_in_relay_forwards_trigger_and_unmask",
        relayed,
    ));
    stories.extend(on_both(
        "level_line_hears_of_each_eoi_once_whichever_way_it_goes",
        once,
    ));
    stories.extend(on_both(
        "invariant_4_embedders_pin_interrupts_after_message_commits",
        embedders_pin,
    ));
    stories
}

/// An automasked level line: fires once, then not again until unmasked.
#[derive(Debug)]
struct Line {
    token: Token,
    binding: ResampleBinding,
    unmasked: AtomicU64,
    resample: Mutex<Option<ResampleEvent>>,
}

impl Line {
    fn new(binding: ResampleBinding) -> anyhow::Result<Arc<Self>> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Self {
            token: Token::of(event)?,
            binding,
            unmasked: AtomicU64::new(0),
            resample: Mutex::default(),
        }))
    }

    fn resample(&self) -> MutexGuard<'_, Option<ResampleEvent>> {
        self.resample.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fire(&self) -> anyhow::Result<()> {
        rustix::io::write(&self.token, &1u64.to_ne_bytes())?;
        Ok(())
    }

    /// Waits for the guest's EOI as the device would that bound the event to its unmask.
    fn wait_for_eoi(&self) -> anyhow::Result<u64> {
        wait_for_eoi(&self.resample().clone().context("no resample event")?)
    }
}

/// Waits for a signal of the guest's EOI; how many have come.
fn wait_for_eoi(resample: &ResampleEvent) -> anyhow::Result<u64> {
    let mut fds = [PollFd::from_borrowed_fd(resample.as_fd(), PollFlags::IN)];
    let patience = Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    ensure!(
        rustix::event::poll(&mut fds, Some(&patience))? == 1,
        "no eoi came"
    );
    let mut count = [0; 8];
    rustix::io::read(resample, &mut count)?;
    Ok(u64::from_ne_bytes(count))
}

impl Producer for Line {
    fn name(&self) -> String {
        "line".into()
    }
    fn info(&self) -> ProducerInfo {
        ProducerInfo::automasked_level()
    }
    fn add_consumer(&self, consumer: &ConsumerInfo) -> Result<ResampleBinding, PeerError> {
        *self.resample() = consumer.resample.clone();
        Ok(self.binding)
    }
    fn del_consumer(&self) {
        *self.resample() = None;
    }
    fn mask_control(&self) -> Option<&dyn Mask> {
        Some(self)
    }
}

impl Mask for Line {
    fn mask(&self) -> Result<(), PeerError> {
        Ok(())
    }
    fn unmask(&self) -> Result<(), PeerError> {
        self.unmasked.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn forwarded(world: &dyn World) -> anyhow::Result<()> {
    let registry = Registry::new()?;
    let line = Line::new(ResampleBinding::Producer)?;
    let _producer = registry.register_producer(line.token.clone(), line.clone())?;
    let pin = world.domain().pin("pin", LEVEL_PIN.gsi)?;
    let consumer = registry.register_consumer(line.token.clone(), pin)?;
    let delivery = consumer.delivery()?;
    ensure!(delivery.state == DeliveryState::Bypass, "{delivery:?}");
    let before = (registry.relay_counters(), world.ioctls());
    for round in 1..=ROUNDS {
        line.fire()?;
        world.settle()?;
        world.serve(LEVEL_PIN.gsi);
        let signals = line.wait_for_eoi()?;
        ensure!(signals == 1, "{signals} signals of eoi {round}");
        world.settle()?;
        let delivered = world.delivered(LEVEL_PIN.vector);
        ensure!(
            delivered == round,
            "{delivered} delivered after {round} rounds"
        );
    }
    let after = (registry.relay_counters(), world.ioctls());
    ensure!(
        before == after,
        "the broker took part: {before:?} became {after:?}"
    );
    Ok(())
}

/// A pin without a registry, and what tells of its EOIs.
struct Once<'a> {
    world: &'a dyn World,
    pin: Arc<PinConsumer>,
    resample: ResampleEvent,
    token: Token,
}

impl Once<'_> {
    /// An interrupt that `raise` makes, and its EOI, of which there is one signal.
    fn round(&self, state: &str, raise: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let before = self.world.delivered(LEVEL_PIN.vector);
        raise()?;
        self.world.settle()?;
        self.world.serve(LEVEL_PIN.gsi);
        let mut signals = wait_for_eoi(&self.resample)?;
        self.world.settle()?;
        signals += Token::of(&self.resample)?.pending()?;
        let delivered = self.world.delivered(LEVEL_PIN.vector) - before;
        ensure!(
            (delivered, signals) == (1, 1),
            "{state}: {delivered} delivered, {signals} signals"
        );
        Ok(())
    }

    fn by_source(&self, state: &str) -> anyhow::Result<()> {
        self.round(state, || {
            rustix::io::write(&self.token, &1u64.to_ne_bytes())?;
            Ok(())
        })
    }

    fn by_relay(&self, state: &str) -> anyhow::Result<()> {
        self.round(state, || Ok(self.pin.inject()?))
    }
}

fn once(world: &dyn World) -> anyhow::Result<()> {
    let info = ProducerInfo::automasked_level();
    let pin = world.domain().pin("pin", LEVEL_PIN.gsi)?;
    let line = Once {
        world,
        resample: pin.answer(&info).resample.context("no resample event")?,
        token: Token::of(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)?,
        pin: Arc::clone(&pin),
    };
    pin.add_producer(&info, &line.token)?;
    pin.prepare()?;
    world.domain().commit()?;
    // A second time round nothing is left of the first.
    for _ in 0..2 {
        pin.attach()?;
        line.by_source("bypassed alone")?;
        pin.arm()?;
        line.by_source("armed after")?;
        line.by_relay("armed after")?;
        pin.detach()?;
        line.by_relay("armed alone")?;
        pin.attach()?;
        line.by_relay("bypassed after")?;
        line.by_source("bypassed after")?;
        pin.disarm()?;
        line.by_source("bypassed alone again")?;
        pin.detach()?;
    }
    // Between relay and bypass it costs one irqfd.
    pin.arm()?;
    let before = world.ioctls();
    pin.attach()?;
    pin.detach()?;
    let spent = world.ioctls() - before;
    ensure!(
        (spent.resample_assigns, spent.deassigns) == (1, 1),
        "{spent:?}"
    );
    Ok(())
}

fn relayed(world: &dyn World) -> anyhow::Result<()> {
    let registry = Registry::new()?;
    let line = Line::new(ResampleBinding::Relay)?;
    let _producer = registry.register_producer(line.token.clone(), line.clone())?;
    let pin = world.domain().pin("pin", LEVEL_PIN.gsi)?;
    let consumer = registry.register_consumer(line.token.clone(), pin)?;
    for round in 1..=ROUNDS {
        // Half of the rounds by the kernel: the relay then only unmasks.
        let path = if round % 2 == 0 {
            PathPolicy::Auto
        } else {
            PathPolicy::Relay
        };
        registry.set_path(consumer.link(), path)?;
        line.fire()?;
        settle(&registry, world)?;
        world.serve(LEVEL_PIN.gsi);
        settle(&registry, world)?;
        let delivered = world.delivered(LEVEL_PIN.vector);
        ensure!(
            delivered == round,
            "{delivered} delivered after {round} rounds"
        );
        let unmasked = line.unmasked.load(Ordering::SeqCst);
        ensure!(
            unmasked == round,
            "unmasked {unmasked} times after {round} rounds"
        );
    }
    Ok(())
}

fn embedders_pin(world: &dyn World) -> anyhow::Result<()> {
    let registry = Registry::new()?;
    let mut party = Party::new(1)?;
    for round in 1..=3 {
        party.open_up(&registry, world)?;
        party.change(Change::Retarget, &registry, world)?;
        world.vm().set_line(EDGE_PIN.gsi, LineLevel::High)?;
        world.vm().set_line(EDGE_PIN.gsi, LineLevel::Low)?;
        settle(&registry, world)?;
        let delivered = world.delivered(EDGE_PIN.vector);
        ensure!(
            delivered == round,
            "{delivered} delivered after {round} pulses"
        );
        party.change(Change::ConsumerLeaves, &registry, world)?;
    }
    ensure!(world.ioctls().commits > 0, "no message was ever committed");
    Ok(())
}
