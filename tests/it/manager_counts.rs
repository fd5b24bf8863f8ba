//! What guest operations cost in ioctls: the table of `design/embedding.md`, exactly.

use std::sync::Arc;

use anyhow::ensure;
use irqbroker::manager::DeviceShape;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker_core::LocalProducer;
use irqbroker_core::MsiMessage;
use irqbroker_core::Vector;
use irqbroker_core::Wait;
use irqbroker_kvm::IoctlCounts;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::pci::IntxSource;
use libtest_mimic::Trial;

use crate::manager_rig::GuestDriver;
use crate::manager_rig::Rig;
use crate::manager_rig::Spent;
use crate::manager_rig::layout;
use crate::world::World;
use crate::world::message;
use crate::world::on_both;

/// Sizes of MSI-X tables: one vector, a NIC's, the largest there is.
const SIZES: [u16; 3] = [1, 64, 2048];
/// Mask and unmask, again and again.
const TOGGLES: usize = 10_000;

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = Vec::new();
    for (name, body) in [
        (
            "manager_enables_n_vectors_with_one_commit_and_one_assign_each",
            enable as fn(&dyn World) -> anyhow::Result<()>,
        ),
        (
            "manager_masks_with_one_deassign_and_unmasks_with_one_assign",
            mask_and_unmask,
        ),
        (
            "manager_toggles_of_a_kernel_fed_vector_cost_one_deassign_a_burst",
            toggles,
        ),
        (
            "manager_toggles_of_a_local_vector_cost_no_ioctl",
            local_toggles,
        ),
        (
            "manager_retargets_with_two_ioctls_and_commits_new_routes_only",
            retarget,
        ),
        (
            "manager_disables_n_vectors_with_one_request_and_no_commit",
            disable,
        ),
        ("manager_restores_n_vectors_with_one_commit", restore),
        (
            "manager_table_of_2048_with_8_used_costs_8_host_interrupts_and_8_gsis",
            lazy,
        ),
    ] {
        stories.extend(on_both(name, body));
    }
    stories
}

/// Messages that differ from each other: 224 vectors times ten destinations.
fn distinct(at: u16) -> MsiMessage {
    let (destination, vector) = (at / 224, at % 224 + 0x20);
    MsiMessage {
        address: 0xfee0_0000 | u64::from(destination) << 12,
        data: vector.into(),
    }
}

fn all(size: u16) -> impl Iterator<Item = (u16, MsiMessage)> {
    (0..size).map(|vector| (vector, distinct(vector)))
}

fn kvm(commits: u64, assigns: u64, deassigns: u64) -> IoctlCounts {
    IoctlCounts {
        commits,
        assigns,
        deassigns,
        ..IoctlCounts::default()
    }
}

fn expect(what: &str, spent: Spent, kvm: IoctlCounts, set_irqs: u64) -> anyhow::Result<()> {
    let wanted = Spent { kvm, set_irqs };
    ensure!(spent == wanted, "{what}: {spent:?} instead of {wanted:?}");
    Ok(())
}

/// A rig with its vectors enabled, and what that cost.
fn enabled(world: &dyn World, size: u16) -> anyhow::Result<(Rig, Spent)> {
    let rig = Rig::new(world, size)?;
    let spent = rig.spent(world, |guest| guest.enable_msix(all(size)))?;
    Ok((rig, spent))
}

fn enable(world: &dyn World) -> anyhow::Result<()> {
    for size in SIZES {
        let (rig, spent) = enabled(world, size)?;
        // The index with room for one, then all of them.
        expect("enable", spent, kvm(1, size.into(), 0), 2)?;
        let counters = rig.manager.registry().relay_counters();
        ensure!(counters.injections == 0, "{counters:?}");
    }
    Ok(())
}

fn mask_and_unmask(world: &dyn World) -> anyhow::Result<()> {
    for size in SIZES {
        let (rig, _) = enabled(world, size)?;
        let last = size - 1;
        let spent = rig.spent(world, |guest| guest.mask(last))?;
        expect("mask", spent, kvm(0, 0, 1), 0)?;
        let spent = rig.spent(world, |guest| guest.unmask(last))?;
        expect("unmask", spent, kvm(0, 1, 0), 0)?;
    }
    Ok(())
}

fn toggles(world: &dyn World) -> anyhow::Result<()> {
    let (rig, _) = enabled(world, 64)?;
    let spent = rig.spent(world, |guest| {
        for _ in 0..TOGGLES {
            guest.mask(7);
            guest.unmask(7);
        }
    })?;
    expect("toggles", spent, kvm(0, 1, 1), 0)
}

fn local_toggles(world: &dyn World) -> anyhow::Result<()> {
    let manager = Manager::new(Arc::clone(world.domain()), ManagerOptions::default())?;
    let head = LocalProducer::new("head")?;
    let shape = DeviceShape {
        layout: layout(1, IntxSource::Tracked),
        device_id: None,
    };
    let source = DeviceSource::Local(vec![head.clone()]);
    let guest = GuestDriver(manager.add_device("gpu", source, shape)?);
    let vector = Vector(0x41);
    guest.enable_msix([(0, message(vector))]);
    while manager.service(Wait::No)?.events > 0 {}
    let before = world.ioctls();
    for _ in 0..TOGGLES {
        guest.mask(0);
        head.signal();
        guest.unmask(0);
    }
    let spent = world.ioctls() - before;
    ensure!(spent == IoctlCounts::default(), "{spent:?}");
    world.settle()?;
    ensure!(world.delivered(vector) >= 1);
    guest.mask(0);
    world.settle()?;
    let delivered = world.delivered(vector);
    head.signal();
    ensure!(guest.is_pending(0), "masked at the source, and not pending");
    guest.unmask(0);
    world.settle()?;
    ensure!(world.delivered(vector) == delivered + 1);
    ensure!(!guest.is_pending(0));

    // A reset leaves nothing behind, neither at the source nor in its eventfd.
    guest.mask(0);
    head.signal();
    guest.0.reset();
    let delivered = world.delivered(vector);
    guest.enable_msix([(0, message(vector))]);
    while manager.service(Wait::No)?.events > 0 {}
    world.settle()?;
    ensure!(
        world.delivered(vector) == delivered,
        "from before the reset"
    );
    Ok(())
}

fn retarget(world: &dyn World) -> anyhow::Result<()> {
    for size in SIZES {
        let (rig, _) = enabled(world, size)?;
        let new = distinct(2100);
        let spent = rig.spent(world, |guest| guest.set_message(0, new))?;
        // Address and data change in one write here; a guest without 16-byte stores masks first.
        expect("retarget to a new route", spent, kvm(1, 1, 1), 0)?;
        let spent = rig.spent(world, |guest| {
            guest.mask(0);
            guest.set_message(0, distinct(2101));
            guest.unmask(0);
        })?;
        expect("masked retarget to a new route", spent, kvm(1, 1, 1), 0)?;
        let spent = rig.spent(world, |guest| {
            guest.mask(0);
            guest.set_message(0, new);
            guest.unmask(0);
        })?;
        // It was replaced by the last commit: that one wrote what was wanted by then.
        expect("retarget to an old route", spent, kvm(1, 1, 1), 0)?;
        if size > 1 {
            // Another vector's: shared.
            let spent = rig.spent(world, |guest| guest.set_message(0, distinct(1)))?;
            expect("retarget to a known route", spent, kvm(0, 1, 1), 0)?;
            let spent = rig.spent(world, |guest| guest.set_message(0, new))?;
            expect("retarget to a recent route", spent, kvm(0, 1, 1), 0)?;
        }
    }
    Ok(())
}

fn disable(world: &dyn World) -> anyhow::Result<()> {
    for size in SIZES {
        let (rig, _) = enabled(world, size)?;
        let spent = rig.spent(world, GuestDriver::disable_msix)?;
        expect("disable", spent, kvm(0, 0, size.into()), 1)?;
        ensure!(world.domain().leased() == 0);
        ensure!(rig.sim.active().is_none());
    }
    Ok(())
}

fn restore(world: &dyn World) -> anyhow::Result<()> {
    for size in SIZES {
        let (rig, _) = enabled(world, size)?;
        let saved = rig.manager.save();
        drop(rig);
        // So that the kernel does not have the routes still.
        world
            .domain()
            .transaction()
            .arm(eventfd()?, distinct(2200), None)?;
        let mut other = world.domain().transaction();
        other.arm(eventfd()?, distinct(2200), None)?;
        drop(
            other
                .commit()
                .map_err(|failed| anyhow::anyhow!("{failed}"))?,
        );
        let rig = Rig::new(world, size)?;
        let mut restored = Ok(());
        let spent = rig.spent(world, |_| restored = rig.manager.restore(&saved))?;
        restored?;
        expect("restore", spent, kvm(1, size.into(), 0), 2)?;
    }
    Ok(())
}

fn eventfd() -> anyhow::Result<Arc<std::os::fd::OwnedFd>> {
    let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
    Ok(Arc::new(rustix::event::eventfd(0, flags)?))
}

fn lazy(world: &dyn World) -> anyhow::Result<()> {
    const USED: [u16; 8] = [0, 1, 2, 3, 500, 501, 1000, 2047];
    let rig = Rig::new(world, 2048)?;
    let before = world.domain().leased();
    let spent = rig.spent(world, |guest| {
        guest.enable_msix(USED.map(|vector| (vector, distinct(vector))));
    })?;
    // The index, and each run of neighbours.
    expect("enable 8 of 2048", spent, kvm(1, 8, 0), 1 + 4)?;
    let bound = (0..2048).filter(|vector| rig.sim.is_bound(IrqIndex::MSIX, *vector));
    ensure!(bound.count() == 8);
    ensure!(world.domain().leased() - before == 8);
    // A host with no more than these has enough.
    let scarce = SimDevice::pci().intx().msi(32).msix(2048).host_vectors(8);
    let rig = Rig::on(rig.manager.clone(), "scarce", 2048, scarce)?;
    rig.spent(world, |guest| {
        guest.enable_msix(USED.map(|vector| (vector, distinct(vector))));
    })?;
    for vector in USED {
        let bound = rig.sim.is_bound(IrqIndex::MSIX, vector.into());
        ensure!(bound, "vector {vector} has no host interrupt");
    }
    Ok(())
}
