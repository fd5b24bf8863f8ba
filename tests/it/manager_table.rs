//! The routing table behind the manager: shared GSIs, hot-unplug, refusals.

use anyhow::Context;
use anyhow::ensure;
use irqbroker::manager::ManagerOptions;
use irqbroker_core::DeliveryState;
use irqbroker_core::Reason;
use irqbroker_kvm::KvmErrno;
use irqbroker_kvm::SimCallKind;
use irqbroker_vfio::Raised;
use irqbroker_vfio::SimDevice;
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
    let mut stories = vec![
        story(
            "manager_table_does_not_grow_as_devices_come_and_go",
            Need::Nothing,
            hot_plug,
        ),
        story(
            "manager_table_that_the_kernel_refuses_costs_no_interrupt",
            Need::Nothing,
            refused,
        ),
    ];
    stories.extend(on_both(
        "manager_vectors_with_the_same_message_share_a_gsi",
        shared,
    ));
    stories
}

fn delivery(rig: &Rig, at: u16) -> anyhow::Result<(DeliveryState, Reason)> {
    let explained = rig.guest.0.explain(MessageSource::Msix(VectorIndex(at)));
    let delivery = explained.delivery.context("no link")?;
    Ok((delivery.state, delivery.reason))
}

/// More vectors than a VM of today's gets on with (cloud-hypervisor #7940: one GSI for each).
fn shared(world: &dyn World) -> anyhow::Result<()> {
    const VECTORS: u16 = 300;
    let rig = Rig::new(world, VECTORS)?;
    let spent = rig.spent(world, |guest| {
        guest.enable_msix((0..VECTORS).map(|at| (at, message(vector(at % 2)))));
    })?;
    ensure!(spent.kvm.commits == 1, "{spent:?}");
    ensure!(spent.kvm.assigns == u64::from(VECTORS), "{spent:?}");
    ensure!(world.domain().leased() == 2);
    // Each of them has its own mask and its own events.
    rig.guest.mask(4);
    for (at, seen, owed) in [(2, 0, 1), (4, 1, 0), (298, 1, 1)] {
        ensure!(rig.raise(at) == Raised::Signalled);
        rig.settle(world)?;
        let taken = rig.taken(world, vector(0), seen, owed)?;
        ensure!(taken == owed, "{at}: {taken}");
    }
    ensure!(rig.guest.is_pending(4));
    rig.guest.unmask(4);
    rig.settle(world)?;
    ensure!(rig.taken(world, vector(0), 2, 1)? == 1);
    ensure!(world.delivered(vector(1)) == 0);
    drop(rig);
    ensure!(world.domain().leased() == 0);
    Ok(())
}

/// Cloud Hypervisor's routes outlive their GSIs (`gsi_msi_routes`), as crosvm's do
/// (`ReleaseOneIrq`): there the table grows with each device that is unplugged.
fn hot_plug() -> anyhow::Result<()> {
    const VECTORS: u16 = 8;
    let world = SimWorld::new()?;
    let plugged = || -> anyhow::Result<Rig> {
        let rig = Rig::new(&world, VECTORS)?;
        rig.guest
            .enable_msix((0..VECTORS).map(|at| (at, message(vector(at)))));
        rig.settle(&world)?;
        Ok(rig)
    };
    let entries = || world.vm.inner().table().len();
    let first = plugged()?;
    let table = entries();
    drop(first);
    for round in 0..20 {
        // Messages of its own, so that the table has to be written.
        let rig = plugged()?;
        rig.guest.set_message(0, message(vector(100 + round)));
        rig.settle(&world)?;
        ensure!(entries() <= table, "{} entries, round {round}", entries());
        ensure!(world.domain().leased() == u32::from(VECTORS));
    }
    ensure!(world.domain().leased() == 0);
    Ok(())
}

/// QEMU asserts that a table is taken, OpenVMM expects it: there the VMM dies.
fn refused() -> anyhow::Result<()> {
    let world = SimWorld::new()?;
    let device = SimDevice::pci().intx().msi(1).msix(4);
    let rig = Rig::with(&world, 4, device, ManagerOptions::default())?;
    rig.guest.enable_msix([(0, message(vector(0)))]);
    rig.settle(&world)?;

    // The table with the new routes, and each of the two by itself.
    let vm = world.vm.inner();
    (0..3).for_each(|_| vm.fail_next(SimCallKind::CommitRoutes, KvmErrno::INVAL));
    for at in [1, 2] {
        rig.guest.set_message(at, message(vector(at)));
        rig.guest.unmask(at);
    }
    rig.settle(&world)?;
    ensure!(delivery(&rig, 0)? == (DeliveryState::Bypass, Reason::Best));
    for at in [1, 2] {
        let (state, reason) = delivery(&rig, at)?;
        ensure!(state == DeliveryState::Relay, "{at}: {state:?}");
        ensure!(
            matches!(reason, Reason::RouteRefused { .. }),
            "{at}: {reason}"
        );
    }
    let raise_all = |owed: u64| -> anyhow::Result<()> {
        for at in [0, 1, 2] {
            ensure!(rig.raise(at) == Raised::Signalled);
            rig.settle(&world)?;
            let found = world.delivered(vector(at));
            ensure!(found == owed, "{at}: {found} instead of {owed}");
        }
        Ok(())
    };
    raise_all(1)?;
    // The guest's next message is another attempt.
    rig.guest.set_message(1, message(vector(2)));
    rig.settle(&world)?;
    ensure!(delivery(&rig, 1)?.0 == DeliveryState::Bypass);
    rig.guest.set_message(1, message(vector(1)));
    rig.settle(&world)?;
    raise_all(2)
}
