//! A manager's device behind a guest's remapping unit: the guest's tables say where vectors lead.

use std::sync::Arc;

use anyhow::ensure;
use irqbroker::manager::AddDeviceError;
use irqbroker::manager::DeviceShape;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker::manager::SavedManager;
use irqbroker::remapping::IecInvalidation;
use irqbroker::remapping::VtdFaultReason;
use irqbroker_core::Rid;
use irqbroker_core::Vector;
use irqbroker_kvm::IoctlCounts;
use libtest_mimic::Trial;
use posted_irq::VtdIrte;

use crate::manager_remapped_rig::BYPASS;
use crate::manager_remapped_rig::Behind;
use crate::manager_remapped_rig::Setting;
use crate::manager_remapped_rig::UNTRANSLATED;
use crate::manager_rig::Spent;
use crate::manager_rig::vector;
use crate::remapping::place;
use crate::remapping_rig::DEVICE;
use crate::remapping_rig::GuestTable;
use crate::remapping_rig::entry;
use crate::remapping_rig::handle;
use crate::remapping_rig::on_both_split;
use crate::remapping_rig::one;
use crate::world::World;

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = Vec::new();
    for (name, body) in [
        (
            "manager_vectors_behind_a_unit_arrive_by_the_guests_entries",
            arrive as fn(&dyn World) -> anyhow::Result<()>,
        ),
        (
            "manager_iec_of_one_index_costs_ioctls_for_its_vector_only",
            one_index,
        ),
        (
            "manager_behind_a_unit_restored_elsewhere_loses_nothing",
            restored,
        ),
        (
            "manager_garbage_entry_faults_its_vector_and_leaves_the_others_alone",
            garbage,
        ),
        (
            "manager_device_behind_a_unit_leaves_nothing_behind_there",
            removed,
        ),
        (
            "manager_device_behind_the_unit_of_another_manager_is_refused",
            foreign,
        ),
    ] {
        stories.extend(on_both_split(name, body));
    }
    stories
}

/// Where an entry leads before and after it is changed; no other vector of a story does.
pub(crate) const OLD: Vector = Vector(0x41);
pub(crate) const NEW: Vector = Vector(0x52);

pub(crate) fn kvm(kvm: IoctlCounts) -> Spent {
    Spent { kvm, set_irqs: 0 }
}

fn arrive(world: &dyn World) -> anyhow::Result<()> {
    const VECTORS: u16 = 4;
    let behind = Behind::new(world, VECTORS)?;
    (0..VECTORS).for_each(|at| behind.lead(at, vector(at)));
    let spent = behind.rig.spent_by_each(world, |_| {
        behind.enable(VECTORS);
        // Before the service loop comes: it waits in its eventfd.
        behind.rig.raise(3);
    })?;
    // What it costs without a unit, and a message for the one that could not wait.
    let by_guest = Spent {
        set_irqs: 2,
        ..Spent::default()
    };
    ensure!(spent[0] == by_guest, "{spent:?}");
    let IoctlCounts {
        commits, assigns, ..
    } = spent[1].kvm;
    ensure!((commits, assigns) == (1, VECTORS.into()), "{spent:?}");
    let taken = behind.rig.taken(world, vector(3), 0, 1)?;
    ensure!(taken == 1, "{taken}");
    for at in 0..VECTORS {
        ensure!(behind.state(at)? == BYPASS, "vector {at}");
        let before = world.ioctls();
        behind.interrupt(world, at)?;
        ensure!(world.ioctls() == before, "not past user space");
    }
    let found = [0, 1, 2, 3].map(|at| world.delivered(vector(at)));
    ensure!(found == [1, 1, 1, 2], "{found:?}");
    ensure!(behind.faults.take().is_empty());
    Ok(())
}

fn one_index(world: &dyn World) -> anyhow::Result<()> {
    /// An index that no vector has.
    const NOBODYS: u16 = 4000;
    for vectors in [16, 2000] {
        let behind = Behind::new(world, vectors)?;
        let rig = &behind.rig;
        for at in 0..vectors {
            let (apic, vector) = place(at);
            behind.table.write(at, entry(apic, vector));
        }
        let (_, old) = place(0);
        let spent = rig.spent(world, |_| behind.enable(vectors))?;
        let enabled = Spent {
            kvm: IoctlCounts {
                commits: 1,
                assigns: vectors.into(),
                ..IoctlCounts::default()
            },
            set_irqs: 2,
        };
        ensure!(spent == enabled, "{vectors} vectors: {spent:?}");
        let before = [world.delivered(old), world.delivered(NEW)];
        behind.interrupt(world, 0)?;

        // The guest moves one interrupt: an entry, and its invalidation.
        behind.table.write(0, entry(0, NEW));
        let (spent, named) = behind.spent_on(world, 0)?;
        let off = kvm(IoctlCounts {
            deassigns: 1,
            ..IoctlCounts::default()
        });
        ensure!(spent == off && named == 1, "{vectors} vectors: {spent:?}");
        ensure!(behind.state(0)? == UNTRANSLATED);
        for at in 1..vectors {
            ensure!(behind.state(at)? == BYPASS, "vector {at} was touched");
        }
        let spent = rig.spent(world, |_| {
            rig.raise(0);
        })?;
        let back = kvm(IoctlCounts {
            messages: 1,
            commits: 1,
            assigns: 1,
            ..IoctlCounts::default()
        });
        ensure!(spent == back, "{vectors} vectors: {spent:?}");
        behind.interrupt(world, 0)?;
        let found = [world.delivered(old), world.delivered(NEW)];
        ensure!(found == [before[0] + 1, before[1] + 2], "{found:?}");
        ensure!(behind.state(0)? == BYPASS);

        let nobody = behind.spent_on(world, NOBODYS)?;
        ensure!(nobody == (Spent::default(), 0), "{nobody:?}");
    }
    Ok(())
}

fn restored(world: &dyn World) -> anyhow::Result<()> {
    const VECTORS: u16 = 5;
    let table = GuestTable::new();
    let again = || Setting {
        table: table.clone(),
        ..Setting::default()
    };
    let behind = Behind::with(world.domain(), VECTORS, again())?;
    (0..VECTORS).for_each(|at| behind.lead(at, vector(at)));
    behind.enable(VECTORS);
    behind.rig.settle(world)?;
    // 0 delivers. 1 and 2 are masked, each with an event. 3 is off the kernel, with an event that
    // nobody has looked at. 4 has no entry any more.
    for at in [1, 2] {
        behind.rig.guest.mask(at);
        behind.interrupt(world, at)?;
    }
    ensure!(behind.invalidate(3)? == 1);
    behind.rig.raise(3);
    table.write(4, VtdIrte::default());
    ensure!(behind.invalidate(4)? == 1);
    let saved = serde_json::to_string(&behind.rig.manager.save())?;
    drop(behind);

    // The entries are guest memory, and come along with it.
    let behind = Behind::with(world.domain(), VECTORS, again())?;
    let saved: SavedManager = serde_json::from_str(&saved)?;
    let mut done = Ok(());
    let spent = behind
        .rig
        .spent(world, |_| done = behind.rig.manager.restore(&saved))?;
    done?;
    // 0 and 3, whose routes this VM had before; the masked ones cost nothing yet, 4 waits for an
    // interrupt. The index, and a request for each run of neighbours.
    let assigns = IoctlCounts {
        assigns: 2,
        ..IoctlCounts::default()
    };
    ensure!(spent.kvm == assigns && spent.set_irqs == 3, "{spent:?}");
    ensure!(behind.rig.taken(world, vector(3), 0, 1)? == 1, "lost");
    let guest = &behind.rig.guest;
    let bits = [0, 1, 2, 3, 4].map(|at| guest.is_pending(at));
    ensure!(bits == [false, true, true, false, false], "{bits:?}");
    ensure!(behind.state(0)? == BYPASS && behind.state(4)? == UNTRANSLATED);
    ensure!(behind.faults.take().is_empty());

    behind.lead(1, NEW);
    table.write(2, VtdIrte::default());
    for at in [1, 2] {
        guest.unmask(at);
    }
    ensure!(behind.rig.taken(world, NEW, 0, 1)? == 1, "lost");
    behind.interrupt(world, 0)?;
    let found = [0, 1, 2, 3, 4].map(|at| world.delivered(vector(at)));
    ensure!(found == [1, 0, 0, 1, 0], "{found:?}");
    ensure!(behind.faults.take().len() == 1, "2 has no entry");
    behind.interrupt(world, 4)?;
    ensure!(behind.faults.take().len() == 1);
    Ok(())
}

fn garbage(world: &dyn World) -> anyhow::Result<()> {
    const VECTORS: u16 = 4;
    /// The one whose entry is garbage.
    const BAD: u16 = 1;
    let behind = Behind::new(world, VECTORS)?;
    (0..VECTORS).for_each(|at| behind.lead(at, vector(at)));
    behind.enable(VECTORS);
    behind.rig.settle(world)?;
    let good = entry(0, vector(BAD)).into_bits();
    let anothers = entry(0, vector(BAD)).into_bits() ^ 1 << 64;
    let mut owed = [0; VECTORS as usize];
    for (bits, reason) in [
        (0, VtdFaultReason::NotPresent),
        // The highest bit is reserved.
        (good | 1 << 127, VtdFaultReason::EntryReserved),
        (anothers, VtdFaultReason::SourceId),
    ] {
        behind.table.write(BAD, VtdIrte::from_bits(bits));
        ensure!(behind.invalidate(BAD)? == 1);
        let before = world.ioctls();
        for at in 0..VECTORS {
            behind.interrupt(world, at)?;
            owed[usize::from(at)] += u64::from(at != BAD);
        }
        ensure!(world.ioctls() == before, "a refusal costs no ioctl");
        let faults = behind.faults.take();
        ensure!(
            faults.len() == 1 && faults[0].reason == reason,
            "{faults:?}"
        );
        ensure!(faults[0].source_id.0 == DEVICE.0, "{faults:?}");
        for at in 0..VECTORS {
            let state = if at == BAD { UNTRANSLATED } else { BYPASS };
            ensure!(behind.state(at)? == state, "vector {at}");
        }
        let explained = behind.explain(BAD).to_string();
        ensure!(
            explained.contains("translated anew"),
            "{explained} explains nothing"
        );
        // What is not cached needs no invalidation.
        behind.table.write(BAD, VtdIrte::from_bits(good));
        behind.interrupt(world, BAD)?;
        owed[usize::from(BAD)] += 1;
        ensure!(behind.state(BAD)? == BYPASS);
        let found = [0, 1, 2, 3].map(|at| world.delivered(vector(at)));
        ensure!(found == owed, "{found:?} instead of {owed:?}");
    }
    Ok(())
}

fn removed(world: &dyn World) -> anyhow::Result<()> {
    let Behind {
        rig, unit, table, ..
    } = Behind::new(world, 2)?;
    for at in [0, 1] {
        table.write(at, entry(0, vector(at)));
    }
    let enable = || {
        let messages = [0, 1].map(|at| (at, handle(at)));
        rig.guest.enable_msix(messages);
        rig.settle(world)
    };
    enable()?;
    ensure!(unit.cached() == 2);
    rig.guest.disable_msix();
    ensure!(unit.cached() == 0 && unit.invalidate(one(0))?.links == 0);
    enable()?;
    ensure!(unit.cached() == 2);
    drop(rig);
    let before = world.ioctls();
    let left = unit.invalidate(IecInvalidation::Global)?.links;
    ensure!(left == 0 && unit.cached() == 0 && world.ioctls() == before);
    Ok(())
}

fn foreign(world: &dyn World) -> anyhow::Result<()> {
    let behind = Behind::new(world, 1)?;
    let manager = Manager::new(Arc::clone(world.domain()), ManagerOptions::default())?;
    let source = DeviceSource::Local(Vec::new());
    let shape = DeviceShape::default();
    let device = behind.unit.device(Rid(0x20));
    let refused = manager.add_device_behind(device, "device", source.clone(), shape);
    ensure!(
        matches!(&refused, Err(AddDeviceError::ForeignUnit { name }) if name == "device"),
        "{refused:?}"
    );
    // It has left no name behind.
    ensure!(manager.save().devices.is_empty());
    let _device = manager.add_device("device", source, shape)?;
    Ok(())
}
