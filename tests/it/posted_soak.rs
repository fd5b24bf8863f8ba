//! Posted events while links and vCPU are moved about: none is lost and none invented.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use irqbroker::posted::PostedVm;
use irqbroker_core::ConsumerHandle;
use irqbroker_core::LocalProducer;
use irqbroker_core::PathPolicy;
use irqbroker_core::Producer;
use irqbroker_core::ProducerHandle;
use irqbroker_core::Registry;
use irqbroker_core::RelayThread;
use irqbroker_core::Rid;
use irqbroker_core::Token;
use irqbroker_guest::GuestVector;
use irqbroker_guest::Nesting;
use irqbroker_guest::Served;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use crate::bench::Device;
use crate::bench::Source;
use crate::posted_guest::PROCESSORS;
use crate::posted_guest::PostedGuest;
use crate::posted_guest::RunningPosted;
use crate::posted_guest::message;
use crate::posted_guest::to_both;
use crate::soak::events;
use crate::soak::signal;

/// How many events.
const EVENTS_VARIABLE: &str = "IRQBROKER_POSTED_EVENTS";
/// Even ones are fed by a call, odd ones by an eventfd.
const LINKS: usize = 8;
/// How long the relay may take to empty all eventfds. Only one that forgot an event comes near.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requester id of the device, 00:01.0.
const DEVICE: Rid = Rid(1 << 3);

/// One link of the soak, which goes between two vectors.
struct Party {
    source: Source,
    vectors: [u8; 2],
    link: ConsumerHandle,
    _producer: ProducerHandle,
    masked: bool,
}

/// The two of a link: from 0x30 to 0xe0, each in a priority of its own or with one neighbour.
fn vectors(at: usize) -> [u8; 2] {
    let low = [0x30, 0x48, 0x60, 0x78, 0x90, 0xa8, 0xc0, 0xd8][at];
    [low, low + 8]
}

/// A device that takes a while to be served, during which others interrupt.
struct Slow(AtomicU64);

impl Served for Slow {
    fn serve(&self, _vector: GuestVector) {
        // Relaxed: the vCPU's thread has the seed for itself.
        let mut random = fastrand::Rng::with_seed(self.0.load(Ordering::Relaxed));
        // A few of them long enough for the next post.
        if random.u8(..4) == 0 {
            (0..random.u32(..2000)).for_each(|_| std::hint::spin_loop());
        }
        self.0.store(random.u64(..), Ordering::Relaxed);
    }
}

/// Something done to a link or to the vCPU while events flow.
#[derive(Debug, Clone, Copy)]
enum Change {
    Retarget,
    Mask,
    Policy,
    Preempt,
    Migrate,
}

impl Change {
    const WITHOUT_KICK: [Self; 3] = [Self::Retarget, Self::Mask, Self::Policy];
    /// The first three are rarer: each of them takes the link's lock.
    const ALL: [Self; 7] = [
        Self::Retarget,
        Self::Retarget,
        Self::Mask,
        Self::Policy,
        Self::Preempt,
        Self::Migrate,
        Self::Migrate,
    ];
}

impl Party {
    fn new(at: usize, registry: &Registry, vm: &Arc<PostedVm>) -> anyhow::Result<Self> {
        let vectors = vectors(at);
        let name = format!("link{at}");
        let consumer = vm.msi(&name, DEVICE, message(vectors[0]))?;
        let (source, producer): (_, Arc<dyn Producer>) = if at.is_multiple_of(2) {
            let local = LocalProducer::new(&name)?;
            (Source::Local(local.clone()), local)
        } else {
            let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            (Source::Device(Token::of(event)?), Arc::new(Device))
        };
        let token = source.token().clone();
        Ok(Self {
            source,
            vectors,
            _producer: registry.register_producer(token.clone(), producer)?,
            link: registry.register_consumer(token, consumer)?,
            masked: false,
        })
    }

    fn delivered(&self, world: &RunningPosted) -> u64 {
        let delivered = self.vectors.map(|vector| world.delivered(vector));
        delivered.into_iter().sum()
    }

    fn open(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.masked) {
            self.link.unmask()?;
        }
        Ok(())
    }

    fn change(
        &mut self,
        change: Change,
        random: &mut fastrand::Rng,
        registry: &Registry,
        world: &RunningPosted,
    ) -> anyhow::Result<()> {
        match change {
            Change::Retarget => {
                let vector = self.vectors[random.usize(..2)];
                // A quarter of them through the host.
                let message = match random.u8(..4) {
                    0 => to_both(vector),
                    _ => message(vector),
                };
                self.link.update_route(message)?;
            }
            Change::Mask if self.masked => self.open()?,
            Change::Mask => {
                self.link.mask()?;
                self.masked = true;
            }
            Change::Policy => {
                let policy = [PathPolicy::Auto, PathPolicy::Relay][random.usize(..2)];
                registry.set_path(self.link.link(), policy)?;
            }
            Change::Preempt => world.guest.notifier().notify(),
            Change::Migrate => {
                let processor = random.usize(..usize::from(PROCESSORS));
                world.seat.processor.store(processor, Ordering::Relaxed);
                world.guest.notifier().notify();
            }
        }
        Ok(())
    }
}

/// One thread signals all links, now in bursts and now with pauses in which the guest halts, while
/// this one retargets, masks and moves them and the vCPU; then everything is opened and comes to
/// rest, and each link takes exactly one more interrupt for one more event.
pub(crate) fn soak() -> anyhow::Result<()> {
    /// Events between two comparisons; few enough that there are thousands of these.
    const ROUND: u64 = 400;
    /// Changes meanwhile at least, also where the signaller has the processors to itself.
    const CHANGES: u64 = 16;
    let events = events(EVENTS_VARIABLE)?;
    let vectors = (0..LINKS).flat_map(vectors);
    let served: Vec<GuestVector> = vectors.filter_map(GuestVector::new).collect();
    let slow = Arc::new(Slow(AtomicU64::new(1)));
    let world = PostedGuest::build(Nesting::On, &served, None)?.run(Some(slow))?;
    let registry = Registry::new()?;
    let relay = RelayThread::spawn(registry.clone(), || {})?;
    let mut parties: Vec<Party> = (0..LINKS)
        .map(|at| Party::new(at, &registry, &world.vm))
        .collect::<anyhow::Result<_>>()?;
    // The seed is arbitrary; a fixed one makes a failure likelier to come again.
    let mut random = fastrand::Rng::with_seed(2027);
    let (mut produced, mut rounds) = (0, 0);
    while produced < events {
        rounds += 1;
        let before: Vec<u64> = delivered(&parties, &world);
        let sent: Vec<AtomicU64> = parties.iter().map(|_| AtomicU64::new(0)).collect();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| -> anyhow::Result<()> {
            let sources: Vec<Source> = parties.iter().map(|party| party.source.clone()).collect();
            let (sent, done) = (&sent, &done);
            scope.spawn(move || {
                signal(&sources, sent, ROUND, rounds);
                // Relaxed: the join orders the counts.
                done.store(true, Ordering::Relaxed);
            });
            let mut changes = 0;
            while !done.load(Ordering::Relaxed) || changes < CHANGES {
                changes += 1;
                let party = &mut parties[random.usize(..LINKS)];
                // Every other round without a kick, which would make up for a wake-up that was lost.
                let changes = match rounds % 2 {
                    0 => &Change::ALL[..],
                    _ => &Change::WITHOUT_KICK[..],
                };
                let change = changes[random.usize(..changes.len())];
                party.change(change, &mut random, &registry, &world)?;
                (0..random.u32(..2000)).for_each(|_| std::hint::spin_loop());
            }
            Ok(())
        })?;
        parties.iter_mut().try_for_each(Party::open)?;
        rest(&registry, &world, &parties)?;
        for (link, (party, before)) in parties.iter().zip(before).enumerate() {
            let sent = sent[link].load(Ordering::Relaxed);
            let got = party.delivered(&world) - before;
            ensure!(got <= sent, "link {link}: {got} of {sent}: invented");
            ensure!(sent == 0 || got > 0, "link {link}: 0 of {sent}: lost");
            produced += sent;
        }
        let before = delivered(&parties, &world);
        parties.iter().for_each(|party| party.source.signal());
        rest(&registry, &world, &parties)?;
        for (link, (party, before)) in parties.iter().zip(before).enumerate() {
            let got = party.delivered(&world) - before;
            ensure!(got == 1, "link {link}: {got} of one event at rest");
            produced += 1;
        }
    }
    drop(parties);
    drop(relay);
    let seen = Seen::of(&world);
    println!("{produced} events in {rounds} rounds, {seen}");
    seen.shows_something()
}

fn delivered(parties: &[Party], world: &RunningPosted) -> Vec<u64> {
    parties.iter().map(|party| party.delivered(world)).collect()
}

/// Waits until no eventfd holds an event, the relay has nothing to do and the guest is quiet.
fn rest(registry: &Registry, world: &RunningPosted, parties: &[Party]) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        ensure!(
            Instant::now() < deadline,
            "events wait in an eventfd that nobody reads: lost"
        );
        let before = registry.relay_counters();
        while !world.seat.is_idle() {
            ensure!(
                Instant::now() < deadline,
                "the vcpu sleeps on posted events: lost"
            );
            std::thread::yield_now();
        }
        world.settle()?;
        let mut waiting = 0;
        for party in parties {
            waiting += party.source.token().pending()?;
        }
        if waiting == 0 && registry.relay_counters() == before {
            return Ok(());
        }
    }
}

/// What the vCPU went through.
struct Seen {
    migrations: usize,
    preemptions: usize,
    sleeps: usize,
    deepest: usize,
}

impl Seen {
    fn of(world: &RunningPosted) -> Self {
        let seat = &world.seat;
        Self {
            migrations: seat.migrations.load(Ordering::Relaxed),
            preemptions: seat.preemptions.load(Ordering::Relaxed),
            sleeps: seat.sleeps.load(Ordering::Relaxed),
            deepest: seat.deepest.load(Ordering::Relaxed),
        }
    }

    fn shows_something(&self) -> anyhow::Result<()> {
        ensure!(
            self.migrations > 100 && self.preemptions > 100 && self.sleeps > 100,
            "the story shows nothing: {self}"
        );
        // How deep handlers nest is up to the machine: events come while one runs, or between two.
        // That they do is `posted_vectors_nest_four_deep_and_end_inside_out`.
        Ok(())
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} migrations, {} preemptions, {} sleeps, nested {} deep",
            self.migrations, self.preemptions, self.sleeps, self.deepest
        )
    }
}
