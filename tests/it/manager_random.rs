//! Everything a guest can do to a device, at random: none lost, none invented.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use irqbroker::manager::ManagerOptions;
use irqbroker_core::Promotion;
use irqbroker_core::Wait;
use irqbroker_vfio::Raised;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::conformance::KernelProfile;
use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::VectorIndex;
use libtest_mimic::Trial;

use crate::manager_rig::Rig;
use crate::manager_rig::vector;
use crate::need::Need;
use crate::need::story;
use crate::world::SimWorld;
use crate::world::World;
use crate::world::message;
use crate::world::on_both;

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = vec![story(
        "manager_random_accesses_lose_and_invent_nothing_on_the_simulator",
        Need::Nothing,
        property,
    )];
    stories.extend(on_both(
        "manager_random_accesses_lose_and_invent_nothing",
        random_run,
    ));
    stories.extend(on_both("manager_threads_lose_and_invent_nothing", threads));
    stories
}

/// What a random run does to a device.
#[derive(Debug, Clone, Copy)]
enum Access {
    Raise(u16),
    Mask(u16),
    Unmask(u16),
    Retarget(u16, u16),
    FunctionMask,
    FunctionUnmask,
    Disable,
    Enable,
    Migrate,
    Service,
}

/// Vectors of a random run's device.
const VECTORS: u16 = 4;
/// Messages they have among them: fewer than would keep them apart.
const MESSAGES: u16 = 6;

impl Access {
    fn random(random: &mut fastrand::Rng) -> Self {
        let at = random.u16(0..VECTORS);
        match random.u8(0..32) {
            0..10 => Self::Raise(at),
            10..14 => Self::Mask(at),
            14..19 => Self::Unmask(at),
            19..23 => Self::Retarget(at, random.u16(0..MESSAGES)),
            23 => Self::FunctionMask,
            24..26 => Self::FunctionUnmask,
            26 => Self::Disable,
            27..29 => Self::Enable,
            29 => Self::Migrate,
            _ => Self::Service,
        }
    }
}

/// The reference: what hardware would have delivered.
#[derive(Debug, Default, Clone)]
struct Reference {
    seed: u64,
    enabled: bool,
    function_masked: bool,
    unmasked: [bool; VECTORS as usize],
    message: [u16; VECTORS as usize],
    pending: [bool; VECTORS as usize],
    delivered: [u64; MESSAGES as usize],
}

impl Reference {
    fn is_deliverable(&self, at: usize) -> bool {
        self.enabled && !self.function_masked && self.unmasked[at]
    }

    fn deliver(&mut self) {
        for at in 0..VECTORS.into() {
            if self.is_deliverable(at) && std::mem::take(&mut self.pending[at]) {
                self.delivered[usize::from(self.message[at])] += 1;
            }
        }
    }
}

/// Does it to both.
fn access(
    access: Access,
    rig: &mut Rig,
    reference: &mut Reference,
    world: &dyn World,
) -> anyhow::Result<()> {
    let index = |at: u16| usize::from(at);
    match access {
        Access::Raise(at) => {
            // One without an eventfd waits in the device, which the simulator does not keep.
            if rig.raise(at) == Raised::Signalled {
                reference.pending[index(at)] = true;
            }
        }
        Access::Mask(at) => {
            rig.guest.mask(at);
            reference.unmasked[index(at)] = false;
        }
        Access::Unmask(at) => {
            rig.guest.unmask(at);
            reference.unmasked[index(at)] = true;
        }
        Access::Retarget(at, to) => {
            rig.guest.set_message(at, message(vector(to)));
            reference.message[index(at)] = to;
        }
        Access::FunctionMask | Access::Enable if !reference.enabled => {
            rig.guest.enable_msix_masked();
            (reference.enabled, reference.function_masked) = (true, true);
        }
        Access::FunctionMask => {
            rig.guest.enable_msix_masked();
            reference.function_masked = true;
        }
        Access::FunctionUnmask | Access::Enable => {
            rig.guest.clear_function_mask();
            (reference.enabled, reference.function_masked) = (true, false);
        }
        Access::Disable => {
            rig.guest.disable_msix();
            (reference.enabled, reference.function_masked) = (false, false);
        }
        Access::Migrate => {
            let saved = rig.guest.0.save();
            let text = serde_json::to_string(&saved)?;
            *rig = random_rig(world, reference.seed)?;
            rig.guest.0.restore(&serde_json::from_str(&text)?)?;
        }
        Access::Service => drop(rig.manager.service(Wait::No)?),
    }
    reference.deliver();
    Ok(())
}

/// A rig of a random run: promotion of both kinds, kernels of both kinds.
fn random_rig(world: &dyn World, seed: u64) -> anyhow::Result<Rig> {
    let mut device = SimDevice::pci().intx().msi(32).msix(VECTORS.into());
    if seed.is_multiple_of(3) {
        device = device.kernel(KernelProfile::LINUX_6_1);
    }
    let options = ManagerOptions {
        promotion: match seed.is_multiple_of(2) {
            true => Promotion::Immediate,
            false => Promotion::Deferred,
        },
        ..ManagerOptions::default()
    };
    Rig::with(world, VECTORS, device, options)
}

/// Paced: each access is settled before the next.
fn run(world: &dyn World, seed: u64, steps: usize) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rig = random_rig(world, seed)?;
    let first = (0..MESSAGES).map(|at| world.delivered(vector(at)));
    let first: Vec<u64> = first.collect();
    let mut reference = Reference {
        seed,
        ..Reference::default()
    };
    for at in 0..VECTORS {
        access(Access::Retarget(at, 0), &mut rig, &mut reference, world)?;
    }
    let mut log = Vec::new();
    for _ in 0..steps {
        let next = Access::random(&mut random);
        log.push(next);
        access(next, &mut rig, &mut reference, world)?;
        // Most of the time the service loop comes in between, sometimes late.
        if random.u8(0..4) > 0 || matches!(next, Access::Raise(_)) {
            rig.settle(world)?;
        }
        for (at, first) in (0..MESSAGES).zip(&first) {
            let tail = || log[log.len().saturating_sub(12)..].to_vec();
            let owed = reference.delivered[usize::from(at)];
            let found = rig.taken(world, vector(at), *first, owed)?;
            ensure!(
                found == owed,
                "seed {seed}: message {at} {found} times instead of {owed} after {:?}",
                tail()
            );
        }
        for at in 0..VECTORS {
            let owed = reference.pending[usize::from(at)];
            ensure!(
                rig.guest.is_pending(at) == owed,
                "seed {seed}: pending bit of {at} not {owed} after {log:?}"
            );
        }
    }
    Ok(())
}

fn property() -> anyhow::Result<()> {
    // 100 runs of 200 accesses each meet every pair of accesses in every state many times over.
    (0..100).try_for_each(|seed| run(&SimWorld::new()?, seed, 200))
}

fn random_run(world: &dyn World) -> anyhow::Result<()> {
    (4711..4717).try_for_each(|seed| run(world, seed, 80))
}

/// A guest, a device and the service loop, each on a thread of its own.
fn threads(world: &dyn World) -> anyhow::Result<()> {
    const ROUNDS: u64 = 50;
    const EVENTS: u64 = 200;
    let rig = Rig::new(world, 1)?;
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let service = scope.spawn(|| -> anyhow::Result<()> {
            // Relaxed: the end is seen at some wake-up after it was set.
            while !end.load(Ordering::Relaxed) {
                rig.manager.service(Wait::Forever)?;
            }
            Ok(())
        });
        let rounds = (0..ROUNDS).try_for_each(|_| concurrent_round(&rig, world, EVENTS));
        end.store(true, Ordering::Relaxed);
        rig.manager.wake();
        service.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        rounds
    })
}

fn concurrent_round(rig: &Rig, world: &dyn World, events: u64) -> anyhow::Result<()> {
    let delivered = || (0..4).map(|at| world.delivered(vector(at))).sum::<u64>();
    let before = delivered();
    rig.guest.enable_msix([(0, message(vector(0)))]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..events {
                rig.raise(0);
                // A promotion on another thread ends with a read of the counter, which must find
                // nothing that came after the irqfd.
                world.pump();
            }
        });
        for at in (0..4).cycle().take(50) {
            rig.guest.mask(0);
            rig.guest.set_message(0, message(vector(at)));
            rig.guest.unmask(0);
        }
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    // One event at least, whatever merged; none is left that the guest will ever be told of.
    loop {
        world.settle()?;
        let quiet = !rig
            .guest
            .0
            .explain(MessageSource::Msix(VectorIndex(0)))
            .pending;
        if (quiet && delivered() > before) || Instant::now() > deadline {
            break;
        }
    }
    let found = delivered() - before;
    ensure!((1..=events).contains(&found), "{found} of {events}");
    Ok(())
}
