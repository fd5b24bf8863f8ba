//! No interrupt is lost and none invented, whatever happens to the links meanwhile.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use irqbroker_core::Options;
use irqbroker_core::Promotion;
use irqbroker_core::Registry;
use irqbroker_core::RelayThread;
use libtest_mimic::Trial;
use proptest::collection::vec;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::test_runner::Config;
use proptest::test_runner::TestCaseError;
use proptest::test_runner::TestRunner;

use crate::bench::Change;
use crate::bench::Party;
use crate::bench::Source;
use crate::bench::settle;
use crate::need::Need;
use crate::need::story;
use crate::world::KvmWorld;
use crate::world::SimWorld;
use crate::world::World;

/// The number of events the invariant is to be shown over.
const EVENTS: u64 = 1_000_000;
/// Even ones are masked at the source, odd ones by detaching.
const LINKS: usize = 8;
/// How long the relay may take to empty all eventfds. Only one that forgot an event comes near.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "invariant_7_random_changes_lose_and_invent_nothing_on_the_simulator",
            Need::Nothing,
            property,
        ),
        story(
            "invariant_7_a_million_events_on_the_simulator",
            Need::Nothing,
            simulator_soak,
        ),
        story("invariant_7_a_million_events_on_kvm", Need::Kvm, kvm_soak),
    ]
}

/// One step of a story.
#[derive(Debug, Clone, Copy)]
enum Step {
    Signal(usize, u64),
    Change(usize, Change),
    /// Let everything come to rest, and compare.
    Check,
}

/// The reference: what is owed to each link, as the least and the most it may still get.
#[derive(Debug, Default, Clone, Copy)]
struct Owed {
    least: u64,
    most: u64,
    delivered: u64,
    /// The link was open at some time since the last check.
    opened: bool,
}

impl Owed {
    fn signal(&mut self, events: u64) {
        self.most += events;
        // Events that wait together are one interrupt.
        self.least = 1;
    }

    /// Compares with what the VM has taken by now; `open` links owe nothing afterwards.
    fn check(&mut self, delivered: u64, open: bool) -> Result<(), String> {
        let got = delivered - self.delivered;
        if got > 0 && !self.opened {
            return Err(format!("{got} delivered while masked or apart: invented"));
        }
        if got > self.most {
            return Err(format!("{got} delivered, {} produced: invented", self.most));
        }
        if open && got < self.least {
            return Err(format!("{got} delivered of {}: lost", self.most));
        }
        self.delivered = delivered;
        self.opened = open;
        if open {
            (self.least, self.most) = (0, 0);
        } else if got > 0 {
            // Which of the events it was cannot be told from here.
            (self.least, self.most) = (0, self.most - got);
        }
        Ok(())
    }
}

/// Runs the steps on the simulator.
struct Run {
    world: SimWorld,
    registry: Registry,
    parties: Vec<Party>,
    owed: Vec<Owed>,
}

impl Run {
    fn new(promotion: Promotion) -> anyhow::Result<Self> {
        Ok(Self {
            world: SimWorld::new()?,
            registry: Registry::with_options(Options {
                promotion,
                ..Options::default()
            })?,
            parties: (0..LINKS).map(Party::new).collect::<anyhow::Result<_>>()?,
            owed: vec![Owed::default(); LINKS],
        })
    }

    fn step(&mut self, step: Step) -> anyhow::Result<()> {
        match step {
            Step::Signal(link, events) => {
                (0..events).for_each(|_| self.parties[link].source.signal());
                self.owed[link].signal(events);
            }
            Step::Change(link, change) => {
                self.parties[link].change(change, &self.registry, &self.world)?;
                self.owed[link].opened |= self.parties[link].open();
            }
            Step::Check => {
                settle(&self.registry, &self.world)?;
                for (link, (party, owed)) in self.parties.iter().zip(&mut self.owed).enumerate() {
                    owed.check(party.delivered(&self.world), party.open())
                        .map_err(|wrong| anyhow::anyhow!("link {link}: {wrong}"))?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        for (party, owed) in self.parties.iter_mut().zip(&mut self.owed) {
            party.open_up(&self.registry, &self.world)?;
            owed.opened = true;
        }
        self.step(Step::Check)
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let link = 0..LINKS;
    let change = (0..Change::ALL.len()).prop_map(|at| Change::ALL[at]);
    let step = proptest::prop_oneof![
        3 => (link.clone(), 1..4u64).prop_map(|(link, events)| Step::Signal(link, events)),
        4 => (link, change).prop_map(|(link, change)| Step::Change(link, change)),
        2 => proptest::prelude::Just(Step::Check),
    ];
    // Long enough that most links see every change, short enough to shrink.
    vec(step, 1..200)
}

fn property() -> anyhow::Result<()> {
    let mut runner = TestRunner::new(Config {
        cases: 512,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&(steps(), any::<bool>()), |(steps, deferred)| {
            let promotion = if deferred {
                Promotion::Deferred
            } else {
                Promotion::Immediate
            };
            let run = || -> anyhow::Result<()> {
                let mut run = Run::new(promotion)?;
                steps.iter().try_for_each(|step| run.step(*step))?;
                run.finish()
            };
            run().map_err(|error| TestCaseError::fail(format!("{error:#}")))
        })
        .map_err(|error| anyhow::anyhow!("{error}"))
}

fn simulator_soak() -> anyhow::Result<()> {
    // The seed is arbitrary; a fixed one makes a failure come again.
    let mut random = fastrand::Rng::with_seed(2015);
    for promotion in [Promotion::Immediate, Promotion::Deferred] {
        let mut run = Run::new(promotion)?;
        let mut events = 0;
        while events < EVENTS / 2 {
            let link = random.usize(..LINKS);
            match random.u8(..8) {
                0..3 => {
                    let burst = random.u64(1..16);
                    events += burst;
                    run.step(Step::Signal(link, burst))?;
                }
                3..6 => {
                    run.step(Step::Change(
                        link,
                        Change::ALL[random.usize(..Change::ALL.len())],
                    ))?;
                }
                _ => run.step(Step::Check)?,
            }
        }
        run.finish()?;
    }
    Ok(())
}

/// One thread signals all links as fast as it can, the relay has a thread of its own, and this one
/// changes the links; then everything is opened, comes to rest and is compared, and each link takes
/// exactly one more interrupt for one more event.
fn kvm_soak() -> anyhow::Result<()> {
    /// Events between two comparisons; few enough that there are hundreds of these.
    const ROUND: u64 = 4000;
    /// Changes meanwhile at least, also where the signaller has the processors to itself.
    const CHANGES: u64 = 8;
    let world = KvmWorld::new()?;
    let registry = Registry::with_options(Options {
        promotion: Promotion::Deferred,
        ..Options::default()
    })?;
    let relay = RelayThread::spawn(registry.clone(), || {})?;
    let mut parties: Vec<Party> = (0..LINKS).map(Party::new).collect::<anyhow::Result<_>>()?;
    let mut random = fastrand::Rng::with_seed(2026);
    let mut produced = 0;
    let mut changes = 0;
    while produced < EVENTS {
        let before: Vec<u64> = parties
            .iter()
            .map(|party| party.delivered(&world))
            .collect();
        let burst = Burst::new(&parties);
        std::thread::scope(|scope| -> anyhow::Result<()> {
            let signaller = scope.spawn(|| burst.signal(ROUND));
            let enough = changes + CHANGES;
            while !signaller.is_finished() || changes < enough {
                let party = &mut parties[random.usize(..LINKS)];
                party.change(
                    Change::ALL[random.usize(..Change::ALL.len())],
                    &registry,
                    &world,
                )?;
                changes += 1;
            }
            Ok(())
        })?;
        for party in &mut parties {
            party.open_up(&registry, &world)?;
        }
        rest(&registry, &world, &parties)?;
        for (link, party) in parties.iter().enumerate() {
            let sent = burst.sent[link].load(Ordering::Relaxed);
            let got = party.delivered(&world) - before[link];
            ensure!(
                got <= sent,
                "link {link}: {got} delivered of {sent}: invented"
            );
            ensure!(
                sent == 0 || got > 0,
                "link {link}: none delivered of {sent}: lost"
            );
            produced += sent;
        }
        let before: Vec<u64> = parties
            .iter()
            .map(|party| party.delivered(&world))
            .collect();
        parties.iter().for_each(|party| party.source.signal());
        rest(&registry, &world, &parties)?;
        for (link, party) in parties.iter().enumerate() {
            let got = party.delivered(&world) - before[link];
            ensure!(
                got == 1,
                "link {link}: {got} delivered of one event at rest"
            );
            produced += 1;
        }
    }
    drop(parties);
    drop(relay);
    println!("{produced} events, {changes} changes");
    Ok(())
}

/// Waits until no eventfd holds an event, the relay has nothing to do and the guest is quiet.
fn rest(registry: &Registry, world: &KvmWorld, parties: &[Party]) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        ensure!(
            Instant::now() < deadline,
            "events wait in an eventfd that nobody reads: lost"
        );
        registry.promote_queued();
        let before = registry.relay_counters();
        let mut waiting = 0;
        for party in parties {
            // A count that stands while the kernel holds the eventfd has been injected already.
            // Asking takes the link's lock, under which the relay claims and injects: what it had
            // claimed before is on its way to the guest when this returns.
            let link = party
                .consumer
                .as_ref()
                .map(|consumer| consumer.delivery())
                .transpose()?;
            let relayed =
                link.is_some_and(|delivery| delivery.state == irqbroker_core::DeliveryState::Relay);
            waiting += if relayed {
                party.source.token().pending()?
            } else {
                0
            };
        }
        world.settle()?;
        if waiting == 0 && registry.relay_counters() == before {
            return Ok(());
        }
    }
}

/// Signals links at random from a thread of its own.
struct Burst {
    sources: Vec<Source>,
    sent: Vec<AtomicU64>,
}

impl Burst {
    fn new(parties: &[Party]) -> Self {
        Self {
            sources: parties.iter().map(|party| party.source.clone()).collect(),
            sent: parties.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn signal(&self, events: u64) {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..events {
            let at = random.usize(..self.sources.len());
            // Relaxed: read after the thread has been joined.
            self.sent[at].fetch_add(1, Ordering::Relaxed);
            self.sources[at].signal();
        }
    }
}
