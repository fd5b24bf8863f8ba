//! Events of a device behind a remapping unit while its guest changes entries, messages and masks.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use irqbroker::remapping::IecInvalidation;
use irqbroker_core::Reason;
use irqbroker_core::Vector;
use irqbroker_core::Wait;
use libtest_mimic::Trial;

use crate::manager_remapped_rig::BYPASS;
use crate::manager_remapped_rig::Behind;
use crate::manager_rig::vector;
use crate::remapping_rig::handle;
use crate::remapping_rig::on_both_split;
use crate::remapping_rig::one;
use crate::remapping_soak::EVENTS_VARIABLE;
use crate::soak::events;
use crate::world::World;

/// Vectors of the device.
const VECTORS: u16 = 4;

pub(crate) fn stories() -> Vec<Trial> {
    on_both_split(
        "manager_threads_behind_a_unit_lose_and_invent_nothing",
        threads,
    )
    .into()
}

/// A guest, a device and the service loop, each on a thread of its own.
fn threads(world: &dyn World) -> anyhow::Result<()> {
    let behind = Behind::new(world, VECTORS)?;
    for index in 0..2 * VECTORS {
        behind.lead(index, place(index, 0));
    }
    behind
        .rig
        .guest
        .enable_msix((0..VECTORS).map(|at| (at, handle(2 * at))));
    let end = AtomicBool::new(false);
    let events = events(EVENTS_VARIABLE)?;
    let mut guest = Guest::default();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let service = scope.spawn(|| -> anyhow::Result<()> {
            // Relaxed: the end is seen at some wake-up after it was set.
            while !end.load(Ordering::Relaxed) {
                behind.rig.manager.service(Wait::Forever)?;
            }
            Ok(())
        });
        // The seed is arbitrary; a fixed one makes a failure likelier to come again.
        let mut random = fastrand::Rng::with_seed(2023);
        let mut rounds = || -> anyhow::Result<()> {
            while guest.produced < events {
                guest.round(&mut random, &behind, world)?;
            }
            Ok(())
        };
        let done = rounds();
        end.store(true, Ordering::Relaxed);
        behind.rig.manager.wake();
        service.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        done
    })?;
    ensure!(behind.faults.take().is_empty(), "a good entry was refused");
    let Guest {
        rounds,
        produced,
        changes,
        ..
    } = guest;
    let promotions = behind.promotions(VECTORS)?;
    println!("{produced} events, {changes} changes, {promotions} promotions");
    ensure!(
        promotions > rounds,
        "{promotions} promotions in {rounds} rounds: shows nothing"
    );
    Ok(())
}

/// How long the others may take. Only an event that is lost takes it all.
const PATIENCE: Duration = Duration::from_secs(60);

/// One of two vectors that an entry goes between, each entry having its own.
fn place(index: u16, of: u16) -> Vector {
    vector(2 * index + of)
}

/// What the guest has done, and the device.
#[derive(Debug, Default)]
struct Guest {
    rounds: u64,
    produced: u64,
    changes: u64,
    /// Where the two entries of each vector lead.
    leads: [u16; 2 * VECTORS as usize],
    /// Which of them its message names.
    named: [u16; VECTORS as usize],
}

impl Guest {
    /// Where an event that comes now goes.
    fn place(&self, at: u16) -> Vector {
        let index = 2 * at + self.named[usize::from(at)];
        place(index, self.leads[usize::from(index)])
    }

    fn change(&mut self, random: &mut fastrand::Rng, behind: &Behind) -> anyhow::Result<()> {
        let (at, which) = (random.u16(..VECTORS), random.u16(..2));
        let driver = &behind.rig.guest;
        match random.u8(..8) {
            0 | 1 => {
                driver.mask(at);
                driver.set_message(at, handle(2 * at + which));
                self.named[usize::from(at)] = which;
                driver.unmask(at);
            }
            2 => {
                driver.mask(at);
                driver.unmask(at);
            }
            touched => {
                let index = 2 * at + which;
                let of = random.u16(..2);
                behind.lead(index, place(index, of));
                self.leads[usize::from(index)] = of;
                let _links = behind.unit.invalidate(match touched {
                    3 => IecInvalidation::Global,
                    4 => IecInvalidation::Index { index, mask: 2 },
                    _ => one(index),
                })?;
            }
        }
        Ok(())
    }

    /// The device signals as fast as it can while the guest changes everything; then each vector
    /// takes exactly one more interrupt for one more event, by the entry it names.
    fn round(
        &mut self,
        random: &mut fastrand::Rng,
        behind: &Behind,
        world: &dyn World,
    ) -> anyhow::Result<()> {
        const EVENTS: u64 = 400;
        /// At least, also where the device has the processors to itself.
        const CHANGES: u64 = 8;
        self.rounds += 1;
        let all = |at: u16| -> u64 {
            let own = 4 * at..4 * at + 4;
            own.map(|of| world.delivered(vector(of))).sum()
        };
        let before: Vec<u64> = (0..VECTORS).map(all).collect();
        let sent = [const { AtomicU64::new(0) }; VECTORS as usize];
        let seed = random.u64(..);
        std::thread::scope(|scope| -> anyhow::Result<()> {
            let device = scope.spawn(|| {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..EVENTS {
                    let at = random.u16(..VECTORS);
                    // Relaxed: read after the thread has been joined.
                    sent[usize::from(at)].fetch_add(1, Ordering::Relaxed);
                    behind.rig.raise(at);
                    world.pump();
                    // Now and then long enough for links to be promoted again.
                    if random.u8(..16) == 0 {
                        (0..random.u32(..20_000)).for_each(|_| std::hint::spin_loop());
                    }
                }
            });
            let enough = self.changes + CHANGES;
            while !device.is_finished() || self.changes < enough {
                self.change(random, behind)?;
                self.changes += 1;
                // Links are to come back to the kernel between two changes, some of the time.
                (0..random.u32(..8000)).for_each(|_| std::hint::spin_loop());
            }
            Ok(())
        })?;
        rest(behind, world, |at| {
            let sent = sent[usize::from(at)].load(Ordering::Relaxed);
            sent == 0 || all(at) > before[usize::from(at)]
        })?;
        for at in 0..VECTORS {
            let sent = sent[usize::from(at)].load(Ordering::Relaxed);
            let got = all(at) - before[usize::from(at)];
            ensure!(got <= sent, "vector {at}: {got} of {sent}: invented");
            self.produced += sent;
        }
        let before: Vec<_> = (0..VECTORS).map(|at| self.counts(at, world)).collect();
        for at in 0..VECTORS {
            behind.rig.raise(at);
        }
        let owed = |at: u16, (there, all): (u64, u64)| {
            let before = before[usize::from(at)];
            (there - before.0, all - before.1)
        };
        rest(behind, world, |at| owed(at, self.counts(at, world)).1 > 0)?;
        for at in 0..VECTORS {
            let found = owed(at, self.counts(at, world));
            ensure!(found == (1, 1), "vector {at}: {found:?} of one event");
            ensure!(behind.state(at)? == BYPASS, "vector {at}");
            self.produced += 1;
        }
        Ok(())
    }

    /// What has come by the entry that the vector names, and by any of its own.
    fn counts(&self, at: u16, world: &dyn World) -> (u64, u64) {
        let own = 4 * at..4 * at + 4;
        let all = own.map(|of| world.delivered(vector(of))).sum();
        (world.delivered(self.place(at)), all)
    }
}

/// Waits until each vector is with the kernel or at rest in the relay, and `done`.
fn rest(behind: &Behind, world: &dyn World, done: impl Fn(u16) -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        world.settle()?;
        let mut rested = true;
        for at in 0..VECTORS {
            let pending = behind.explain(at).pending;
            let on_its_way = behind.state(at)?.1 == Reason::PromotionPending;
            rested &= !pending && !on_its_way && done(at);
        }
        if rested {
            // What was injected as an irqfd was assigned has arrived, too.
            return world.settle();
        }
        ensure!(Instant::now() < deadline, "an event is lost");
    }
}
