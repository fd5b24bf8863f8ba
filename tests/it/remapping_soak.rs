//! Events behind a remapping unit while its guest rewrites and invalidates entries.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use irqbroker::remapping::IecInvalidation;
use irqbroker_core::DeliveryState;
use irqbroker_core::Options;
use irqbroker_core::Promotion;
use irqbroker_core::Reason;
use irqbroker_core::RelayThread;
use irqbroker_core::Vector;
use libtest_mimic::Trial;

use crate::bench::Source;
use crate::remapping_rig::Behind;
use crate::remapping_rig::Rig;
use crate::remapping_rig::entry;
use crate::remapping_rig::handle;
use crate::remapping_rig::on_both_split;
use crate::remapping_rig::one;
use crate::remapping_rig::set_up;
use crate::soak::events;
use crate::soak::signal;
use crate::world::World;

/// How many events a soak behind a unit is to take.
pub(crate) const EVENTS_VARIABLE: &str = "IRQBROKER_REMAPPED_EVENTS";
/// Even ones are masked at the source, odd ones by detaching.
const LINKS: u16 = 8;
/// How long the relay may take to empty all eventfds. Only one that forgot an event comes near.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn stories() -> Vec<Trial> {
    on_both_split(
        "invariant_7_remapped_events_are_neither_lost_nor_invented",
        soak,
    )
    .into()
}

/// A link that goes between two entries, each of which goes between two vectors.
struct Party {
    behind: Behind,
    at: u16,
    /// Which of the two entries the device's message names.
    index: u16,
    /// Which of the four vectors each entry has.
    vectors: [u8; 2],
    masked: bool,
}

/// What the guest does meanwhile.
#[derive(Debug, Clone, Copy)]
enum Change {
    Entry,
    EntryAndBlock,
    EntryAndAll,
    Message,
    Mask,
    SetUp,
}

impl Change {
    /// What touches all links is rarer.
    const ALL: [Self; 16] = [
        Self::Entry,
        Self::Entry,
        Self::Entry,
        Self::Entry,
        Self::Entry,
        Self::Entry,
        Self::EntryAndBlock,
        Self::EntryAndBlock,
        Self::Message,
        Self::Message,
        Self::Message,
        Self::Mask,
        Self::Mask,
        Self::Mask,
        Self::EntryAndAll,
        Self::SetUp,
    ];
}

impl Party {
    fn new(at: u16, rig: &Rig<'_>) -> anyhow::Result<Self> {
        let party = |behind| Self {
            behind,
            at,
            index: 0,
            vectors: [0, 1],
            masked: false,
        };
        for index in [0, 1] {
            rig.table
                .write(2 * at + index, entry(0, vector(at, u8::try_from(index)?)));
        }
        rig.link(at, handle(2 * at)).map(party)
    }

    /// Where an event that comes now goes.
    fn vector(&self) -> Vector {
        vector(self.at, self.vectors[usize::from(self.index)])
    }

    fn delivered(&self, world: &dyn World) -> u64 {
        (0..4).map(|of| world.delivered(vector(self.at, of))).sum()
    }

    fn open(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.masked) {
            self.behind.link.unmask()?;
        }
        Ok(())
    }

    fn change(
        &mut self,
        change: Change,
        random: &mut fastrand::Rng,
        rig: &Rig<'_>,
    ) -> anyhow::Result<()> {
        match change {
            Change::Entry | Change::EntryAndBlock | Change::EntryAndAll => {
                let which = random.u16(..2);
                let of = random.u8(..4);
                let index = 2 * self.at + which;
                rig.table.write(index, entry(0, vector(self.at, of)));
                self.vectors[usize::from(which)] = of;
                let _links = rig.unit.invalidate(match change {
                    Change::Entry => one(index),
                    // Its own two entries and its neighbour's.
                    Change::EntryAndBlock => IecInvalidation::Index { index, mask: 2 },
                    _ => IecInvalidation::Global,
                })?;
            }
            Change::SetUp => {
                let _links = rig.unit.reconfigure(set_up())?;
            }
            Change::Message => {
                self.index = random.u16(..2);
                let message = handle(2 * self.at + self.index);
                self.behind.link.update_route(message)?;
            }
            Change::Mask if self.masked => self.open()?,
            Change::Mask => {
                self.behind.link.mask()?;
                self.masked = true;
            }
        }
        Ok(())
    }
}

/// One of the four vectors of a link.
fn vector(at: u16, of: u8) -> Vector {
    let at = u8::try_from(at).unwrap_or(u8::MAX / 4);
    Vector(0x40 + 4 * at + of)
}

/// One thread signals all links as fast as it can, the relay has a thread of its own, and this one
/// is the guest; then everything is opened, comes to rest and is compared, and each link takes
/// exactly one more interrupt for one more event, by the entry it names.
fn soak(world: &dyn World) -> anyhow::Result<()> {
    /// Events between two comparisons; few enough that there are hundreds of these.
    const ROUND: u64 = 500;
    /// Changes meanwhile at least, also where the signaller has the processors to itself.
    const CHANGES: u64 = 8;
    let events = events(EVENTS_VARIABLE)?;
    let rig = Rig::new(
        world,
        Options {
            promotion: Promotion::Deferred,
            ..Options::default()
        },
    )?;
    let relay = RelayThread::spawn(rig.registry.clone(), || {})?;
    let mut parties = (0..LINKS)
        .map(|at| Party::new(at, &rig))
        .collect::<anyhow::Result<Vec<_>>>()?;
    // The seed is arbitrary; a fixed one makes a failure likelier to come again.
    let mut random = fastrand::Rng::with_seed(2023);
    let (mut produced, mut changes, mut rounds) = (0, 0, 0);
    while produced < events {
        rounds += 1;
        let before: Vec<u64> = delivered(&parties, world);
        let sources: Vec<Source> = parties
            .iter()
            .map(|party| party.behind.source.clone())
            .collect();
        let sent: Vec<AtomicU64> = parties.iter().map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| -> anyhow::Result<()> {
            let signaller = scope.spawn(|| signal(&sources, &sent, ROUND, produced));
            let enough = changes + CHANGES;
            while !signaller.is_finished() || changes < enough {
                let party = &mut parties[random.usize(..usize::from(LINKS))];
                let change = Change::ALL[random.usize(..Change::ALL.len())];
                party.change(change, &mut random, &rig)?;
                changes += 1;
                // Links are to come back to the kernel between two changes, some of the time.
                (0..random.u32(..8000)).for_each(|_| std::hint::spin_loop());
            }
            Ok(())
        })?;
        parties.iter_mut().try_for_each(Party::open)?;
        rest(&rig, &parties)?;
        for (link, (party, before)) in parties.iter().zip(before).enumerate() {
            let sent = sent[link].load(Ordering::Relaxed);
            let got = party.delivered(world) - before;
            ensure!(got <= sent, "link {link}: {got} of {sent}: invented");
            ensure!(sent == 0 || got > 0, "link {link}: 0 of {sent}: lost");
            produced += sent;
        }
        let before: Vec<(u64, u64)> = parties
            .iter()
            .map(|party| (party.delivered(world), world.delivered(party.vector())))
            .collect();
        parties
            .iter()
            .for_each(|party| party.behind.source.signal());
        rest(&rig, &parties)?;
        for (link, (party, before)) in parties.iter().zip(before).enumerate() {
            let got = party.delivered(world) - before.0;
            ensure!(got == 1, "link {link}: {got} of one event at rest");
            let there = world.delivered(party.vector()) - before.1;
            ensure!(there == 1, "link {link}: by an entry of before");
            let delivery = party.behind.delivery()?;
            ensure!(delivery.state == DeliveryState::Bypass, "{delivery:?}");
            produced += 1;
        }
    }
    ensure!(rig.faults().is_empty(), "a good entry was refused");
    let mut promotions = 0;
    for party in &parties {
        let link = rig.registry.link(party.behind.link.link())?;
        promotions += link.counters.promotions;
    }
    drop(parties);
    drop(relay);
    println!("{produced} events, {changes} changes, {promotions} promotions");
    ensure!(
        promotions > rounds,
        "{promotions} promotions in {rounds} rounds: shows nothing"
    );
    Ok(())
}

fn delivered(parties: &[Party], world: &dyn World) -> Vec<u64> {
    parties.iter().map(|party| party.delivered(world)).collect()
}

/// Waits until no eventfd holds an event, the relay has nothing to do, promotions are done and the
/// guest is quiet.
fn rest(rig: &Rig<'_>, parties: &[Party]) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        ensure!(
            Instant::now() < deadline,
            "events wait in an eventfd that nobody reads: lost"
        );
        rig.registry.promote_queued();
        let before = rig.registry.relay_counters();
        let mut waiting = 0;
        for party in parties {
            // A count that stands while the kernel holds the eventfd has been injected already.
            // Asking takes the link's lock, under which the relay claims and injects.
            let delivery = party.behind.delivery()?;
            if delivery.state == DeliveryState::Relay {
                waiting += party.behind.source.token().pending()?;
                waiting += u64::from(delivery.reason == Reason::PromotionPending);
            }
        }
        rig.world.settle()?;
        if waiting == 0 && rig.registry.relay_counters() == before {
            return Ok(());
        }
    }
}
