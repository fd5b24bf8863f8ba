//! Everything a guest can do to a device and to the tables before it: none lost, none invented.

use anyhow::ensure;
use irqbroker::manager::ManagerOptions;
use irqbroker::remapping::IecInvalidation;
use irqbroker_core::DeliveryState;
use irqbroker_core::Promotion;
use irqbroker_core::Reason;
use irqbroker_vfio::Raised;
use irqbroker_vfio::conformance::KernelProfile;
use libtest_mimic::Trial;
use posted_irq::VtdIrte;

use crate::manager_remapped_rig::BYPASS;
use crate::manager_remapped_rig::Behind;
use crate::manager_remapped_rig::Setting;
use crate::manager_remapped_rig::UNTRANSLATED;
use crate::manager_rig::vector;
use crate::need::Need;
use crate::need::story;
use crate::remapping_rig::GuestTable;
use crate::remapping_rig::handle;
use crate::remapping_rig::on_both_split;
use crate::remapping_rig::set_up;
use crate::world::SimWorld;
use crate::world::World;

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = vec![story(
        "manager_random_accesses_behind_a_unit_agree_with_the_model_on_the_simulator",
        Need::Nothing,
        property,
    )];
    stories.extend(on_both_split(
        "manager_random_accesses_behind_a_unit_agree_with_the_model",
        random_run,
    ));
    stories
}

/// Vectors of the device, entries of the table, and vectors of the guest's that entries lead to:
/// fewer than would keep them apart.
const VECTORS: u16 = 4;
const ENTRIES: u16 = 5;
const PLACES: u16 = 6;

/// What the guest, the device and the VMM do.
#[derive(Debug, Clone, Copy)]
enum Access {
    Raise(u16),
    Mask(u16),
    Unmask(u16),
    /// The device's vector is given the handle of an entry.
    Message(u16, u16),
    FunctionMask,
    FunctionUnmask,
    Disable,
    /// The guest writes an entry, present or not, and says nothing.
    Write(u16, Option<u16>),
    /// It says that a block of entries, of two to the power of the mask, has changed.
    Invalidate(u16, u8),
    InvalidateAll,
    /// It sets the unit up anew.
    SetUp,
    Migrate,
}

impl Access {
    fn random(random: &mut fastrand::Rng) -> Self {
        let (at, index) = (random.u16(..VECTORS), random.u16(..ENTRIES));
        match random.u8(..40) {
            0..12 => Self::Raise(at),
            12..15 => Self::Mask(at),
            15..19 => Self::Unmask(at),
            19..22 => Self::Message(at, index),
            22 => Self::FunctionMask,
            23..26 => Self::FunctionUnmask,
            26 => Self::Disable,
            27..32 => {
                let place = random.u16(..PLACES);
                Self::Write(index, (random.u8(..5) > 0).then_some(place))
            }
            32..36 => Self::Invalidate(index, random.u8(..3)),
            36 => Self::InvalidateAll,
            37 => Self::SetUp,
            38 => Self::Migrate,
            _ => Self::Raise(index.min(VECTORS - 1)),
        }
    }
}

/// A vector that has had a link since the capability was enabled.
#[derive(Debug, Clone, Copy)]
struct Linked {
    index: u16,
    /// Where it goes while its translation is in use.
    cached: Option<u16>,
}

/// What hardware would have done that keeps a translation until it is invalidated.
#[derive(Debug, Default, Clone)]
struct Model {
    enabled: bool,
    function_masked: bool,
    unmasked: [bool; VECTORS as usize],
    message: [u16; VECTORS as usize],
    pending: [bool; VECTORS as usize],
    linked: [Option<Linked>; VECTORS as usize],
    table: [Option<u16>; ENTRIES as usize],
    delivered: [u64; PLACES as usize],
    faults: usize,
}

impl Model {
    fn is_deliverable(&self, at: usize) -> bool {
        self.enabled && !self.function_masked && self.unmasked[at]
    }

    /// What is deliverable is looked up, and delivered or refused.
    fn deliver(&mut self) {
        for at in 0..usize::from(VECTORS) {
            if !self.is_deliverable(at) {
                continue;
            }
            let index = self.message[at];
            let found = self.table[usize::from(index)];
            let linked = self.linked[at].take_if(|linked| linked.index == index);
            let mut linked = linked.unwrap_or(Linked {
                index,
                cached: found,
            });
            if std::mem::take(&mut self.pending[at]) {
                linked.cached = linked.cached.or(found);
                match linked.cached {
                    Some(place) => self.delivered[usize::from(place)] += 1,
                    None => self.faults += 1,
                }
            }
            self.linked[at] = Some(linked);
        }
    }

    /// Vectors that lose their translation, and how many of them the kernel has.
    fn invalidate(&mut self, named: impl Fn(u16) -> bool) -> (usize, u64) {
        let mut gone = (0, 0);
        for at in 0..usize::from(VECTORS) {
            let deliverable = self.is_deliverable(at);
            if let Some(linked) = &mut self.linked[at]
                && named(linked.index)
                && linked.cached.take().is_some()
            {
                gone.0 += 1;
                gone.1 += u64::from(deliverable);
            }
        }
        gone
    }

    fn state(&self, at: usize) -> Option<(DeliveryState, Reason)> {
        let linked = self.linked[at]?;
        Some(match (self.is_deliverable(at), linked.cached) {
            (false, _) => (DeliveryState::Masked, Reason::Masked),
            (true, Some(_)) => BYPASS,
            (true, None) => UNTRANSLATED,
        })
    }
}

/// A device, the tables before it and their model.
struct Pair<'a> {
    world: &'a dyn World,
    seed: u64,
    table: GuestTable,
    behind: Behind,
    model: Model,
    faults: usize,
}

impl<'a> Pair<'a> {
    fn new(world: &'a dyn World, seed: u64) -> anyhow::Result<Self> {
        let table = GuestTable::new();
        Ok(Self {
            behind: random_rig(world, seed, &table)?,
            world,
            seed,
            table,
            model: Model::default(),
            faults: 0,
        })
    }

    /// Does it to both.
    fn access(&mut self, access: Access) -> anyhow::Result<()> {
        let index = |at: u16| usize::from(at);
        let (behind, model) = (&self.behind, &mut self.model);
        let guest = &behind.rig.guest;
        match access {
            Access::Raise(at) => {
                // One without an eventfd waits in the device, which the simulator does not keep.
                if behind.rig.raise(at) == Raised::Signalled {
                    model.pending[index(at)] = true;
                }
            }
            Access::Mask(at) => {
                guest.mask(at);
                model.unmasked[index(at)] = false;
            }
            Access::Unmask(at) => {
                guest.unmask(at);
                model.unmasked[index(at)] = true;
            }
            Access::Message(at, to) => {
                guest.set_message(at, handle(to));
                model.message[index(at)] = to;
            }
            Access::FunctionMask => {
                guest.enable_msix_masked();
                (model.enabled, model.function_masked) = (true, true);
            }
            Access::FunctionUnmask => {
                guest.clear_function_mask();
                (model.enabled, model.function_masked) = (true, false);
            }
            Access::Disable => {
                guest.disable_msix();
                (model.enabled, model.function_masked) = (false, false);
                model.linked = Default::default();
            }
            Access::Write(at, Some(place)) => {
                behind.lead(at, vector(place));
                model.table[index(at)] = Some(place);
            }
            Access::Write(at, None) => {
                self.table.write(at, VtdIrte::default());
                model.table[index(at)] = None;
            }
            Access::Invalidate(at, mask) => {
                let expected = model.invalidate(|index| index >> mask == at >> mask);
                let block = IecInvalidation::Index { index: at, mask };
                self.invalidated(expected, || Ok(behind.unit.invalidate(block)?.links))?;
            }
            Access::InvalidateAll => {
                let expected = model.invalidate(|_| true);
                let all = IecInvalidation::Global;
                self.invalidated(expected, || Ok(behind.unit.invalidate(all)?.links))?;
            }
            Access::SetUp => {
                let expected = model.invalidate(|_| true);
                self.invalidated(expected, || Ok(behind.unit.reconfigure(set_up())?.links))?;
            }
            Access::Migrate => {
                let saved = serde_json::to_string(&guest.0.save())?;
                self.faults += behind.faults.take().len();
                self.behind = random_rig(self.world, self.seed, &self.table)?;
                let guest = &self.behind.rig.guest;
                guest.0.restore(&serde_json::from_str(&saved)?)?;
                self.model.linked = Default::default();
            }
        }
        self.model.deliver();
        self.behind.rig.settle(self.world)
    }

    /// Just these vectors, and one ioctl for each that the kernel has.
    fn invalidated(
        &self,
        expected: (usize, u64),
        invalidate: impl FnOnce() -> anyhow::Result<usize>,
    ) -> anyhow::Result<()> {
        let before = self.world.ioctls();
        let links = invalidate()?;
        let spent = self.world.ioctls() - before;
        ensure!((links, spent.deassigns) == expected, "{links}: {spent:?}");
        ensure!(spent.commits + spent.assigns + spent.messages == 0);
        Ok(())
    }

    /// Whether all of it is as the model says, `first` having been delivered before it began.
    fn check(&mut self, first: &[u64]) -> anyhow::Result<()> {
        let (behind, model) = (&self.behind, &self.model);
        for (place, first) in (0..PLACES).zip(first) {
            let owed = model.delivered[usize::from(place)];
            let found = behind.rig.taken(self.world, vector(place), *first, owed)?;
            ensure!(found == owed, "place {place}: {found} instead of {owed}");
        }
        self.faults += behind.faults.take().len();
        ensure!(self.faults == model.faults, "{} faults", self.faults);
        for at in 0..VECTORS {
            let owed = model.pending[usize::from(at)];
            let found = behind.rig.guest.is_pending(at);
            ensure!(found == owed, "pending bit of {at} not {owed}");
            if let Some(owed) = model.state(usize::from(at)) {
                let found = behind.state(at)?;
                ensure!(found == owed, "{at} is {found:?} and not {owed:?}");
            }
        }
        Ok(())
    }
}

/// Promotion of both kinds, kernels of both kinds.
fn random_rig(world: &dyn World, seed: u64, table: &GuestTable) -> anyhow::Result<Behind> {
    let setting = Setting {
        table: table.clone(),
        kernel: match seed.is_multiple_of(3) {
            true => KernelProfile::LINUX_6_1,
            false => KernelProfile::default(),
        },
        options: ManagerOptions {
            promotion: match seed.is_multiple_of(2) {
                true => Promotion::Immediate,
                false => Promotion::Deferred,
            },
            ..ManagerOptions::default()
        },
        ..Setting::default()
    };
    Behind::with(world.domain(), VECTORS, setting)
}

/// Paced: each access is settled before the next.
fn run(world: &dyn World, seed: u64, steps: usize) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    let first = (0..PLACES).map(|place| world.delivered(vector(place)));
    let first: Vec<u64> = first.collect();
    let mut pair = Pair::new(world, seed)?;
    for at in 0..VECTORS {
        pair.access(Access::Message(at, at))?;
    }
    let mut log = Vec::new();
    for _ in 0..steps {
        let next = Access::random(&mut random);
        log.push(next);
        let done = pair.access(next).and_then(|()| pair.check(&first));
        done.map_err(|error| {
            let tail = &log[log.len().saturating_sub(16)..];
            error.context(format!("seed {seed}: after {tail:?}"))
        })?;
    }
    Ok(())
}

fn property() -> anyhow::Result<()> {
    // 100 runs of 250 accesses each meet every pair of accesses in every state many times over.
    (0..100).try_for_each(|seed| run(&SimWorld::split()?, seed, 250))
}

fn random_run(world: &dyn World) -> anyhow::Result<()> {
    (4711..4717).try_for_each(|seed| run(world, seed, 100))
}
