//! What the manager does when the device, the host, KVM or a saved state does not go along.

use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::manager::Fault;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker::manager::RestoreDeviceError;
use irqbroker::manager::RestoreManagerError;
use irqbroker_core::DeliveryState;
use irqbroker_core::MsiMessage;
use irqbroker_core::Wait;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::SimHost;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::conformance::VmShape;
use irqbroker_vfio::Fault as SimFault;
use irqbroker_vfio::Raised;
use irqbroker_vfio::Request;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::abi::Errno;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::conformance::KernelProfile;
use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::VectorIndex;
use libtest_mimic::Trial;

use crate::manager_rig::GuestDriver;
use crate::manager_rig::Rig;
use crate::manager_rig::Spent;
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
            "manager_vector_the_host_refuses_is_explained_and_served_later",
            Need::Nothing,
            refused_vector,
        ),
        story(
            "manager_message_that_leads_nowhere_is_not_delivered",
            Need::Nothing,
            refused_message,
        ),
        story(
            "manager_restore_that_is_refused_changes_nothing",
            Need::Nothing,
            refused_restore,
        ),
    ];
    stories.extend(on_both(
        "manager_host_with_fewer_vectors_serves_as_many_as_it_has",
        fewer_vectors,
    ));
    stories.extend(on_both(
        "manager_host_with_fewer_vectors_that_cannot_grow_serves_the_first",
        fewer_fixed_vectors,
    ));
    stories
}

/// More often than the manager tries in a story: with its neighbours, alone, and again later.
fn refuse_for_long(rig: &Rig, vector: u32) {
    (0..10).for_each(|_| rig.sim.refuse_vector(vector, Errno::ENOSPC));
}

fn state(guest: &GuestDriver, at: u16) -> Option<DeliveryState> {
    let explained = guest.0.explain(MessageSource::Msix(VectorIndex(at)));
    explained.delivery.map(|delivery| delivery.state)
}

fn refused_vector() -> anyhow::Result<()> {
    let world = SimWorld::new()?;
    let rig = Rig::new(&world, 8)?;
    refuse_for_long(&rig, 2);
    rig.guest
        .enable_msix((0..4).map(|at| (at, message(vector(at)))));
    rig.settle(&world)?;
    let explained = rig.guest.0.explain(MessageSource::Msix(VectorIndex(2)));
    ensure!(
        matches!(explained.fault.as_deref(), Some(Fault::Bind(_))),
        "{explained:?}"
    );
    let text = explained.to_string();
    ensure!(text.contains("no space left"), "{text}");
    // Its neighbours are not worse off.
    for at in [0, 1, 3] {
        ensure!(rig.raise(at) == Raised::Signalled);
        rig.settle(&world)?;
        ensure!(world.delivered(vector(at)) == 1);
    }

    // A device that refuses once serves at the next look.
    let rig = Rig::new(&world, 8)?;
    rig.sim
        .fail_nth(Request::SetIrqs, 1, SimFault::Errno(Errno::ENOMEM));
    rig.guest.enable_msix([(0, message(vector(5)))]);
    if state(&rig.guest, 0).is_none() {
        rig.manager.look(Instant::now());
    }
    rig.settle(&world)?;
    ensure!(rig.raise(0) == Raised::Signalled);
    rig.settle(&world)?;
    ensure!(world.delivered(vector(5)) == 1);
    ensure!(state(&rig.guest, 0) == Some(DeliveryState::Bypass));

    // One that refuses to be enabled at all, too.
    let rig = Rig::new(&world, 8)?;
    rig.sim
        .fail_next(Request::SetIrqs, SimFault::Errno(Errno::ENOMEM));
    rig.guest.enable_msix([(0, message(vector(6)))]);
    ensure!(rig.sim.active().is_none());
    rig.manager.look(Instant::now());
    rig.settle(&world)?;
    ensure!(rig.raise(0) == Raised::Signalled);
    rig.settle(&world)?;
    ensure!(world.delivered(vector(6)) == 1);
    Ok(())
}

/// What the host has of the eight vectors that the guest enables.
const HOST_VECTORS: u32 = 3;

fn short_of_vectors(world: &dyn World, kernel: KernelProfile) -> anyhow::Result<Rig> {
    let device = SimDevice::pci().intx().msi(1).msix(8);
    let device = device.host_vectors(HOST_VECTORS).kernel(kernel);
    let rig = Rig::with(world, 8, device, ManagerOptions::default())?;
    rig.guest
        .enable_msix((0..8).map(|at| (at, message(vector(at)))));
    rig.settle(world)?;
    Ok(rig)
}

/// Those that the host has a vector for are the kernel's, and deliver; the others say why not.
fn expect_served(rig: &Rig, world: &dyn World, served: &[u16]) -> anyhow::Result<()> {
    for at in 0..8 {
        let before = world.delivered(vector(at));
        let raised = rig.raise(at);
        let taken = rig.taken(world, vector(at), before, u64::from(served.contains(&at)))?;
        let explained = rig.guest.0.explain(MessageSource::Msix(VectorIndex(at)));
        let wanted = match served.contains(&at) {
            true => (Raised::Signalled, 1, Some(DeliveryState::Bypass), false),
            false => (Raised::Unbound, 0, None, true),
        };
        let found = (
            raised,
            taken,
            state(&rig.guest, at),
            matches!(explained.fault.as_deref(), Some(Fault::Bind(_))),
        );
        ensure!(found == wanted, "{at}: {found:?}, {explained}");
    }
    Ok(())
}

fn fewer_vectors(world: &dyn World) -> anyhow::Result<()> {
    let rig = short_of_vectors(world, KernelProfile::default())?;
    expect_served(&rig, world, &[0, 1, 2])?;
    let told = rig.guest.0.explain(MessageSource::Msix(VectorIndex(7)));
    ensure!(told.to_string().contains("no space left"), "{told}");
    // Others, once the guest has given those up: which they are is the guest's choice.
    rig.guest.disable_msix();
    rig.guest.enable_msix_masked();
    (0..8).for_each(|at| rig.guest.mask(at));
    rig.guest.clear_function_mask();
    // Vector 0 is had with the index itself.
    [4, 6].into_iter().for_each(|at| rig.guest.unmask(at));
    rig.settle(world)?;
    for at in [4, 6] {
        let before = world.delivered(vector(at));
        ensure!(rig.raise(at) == Raised::Signalled);
        ensure!(rig.taken(world, vector(at), before, 1)? == 1);
    }
    Ok(())
}

fn fewer_fixed_vectors(world: &dyn World) -> anyhow::Result<()> {
    let rig = short_of_vectors(world, KernelProfile::LINUX_6_1)?;
    expect_served(&rig, world, &[0, 1, 2])?;
    // The index keeps what it was enabled with, so nothing is tried again.
    let later = Instant::now() + Duration::from_secs(60);
    let spent = rig.spent(world, |_| rig.manager.look(later))?;
    ensure!(spent == Spent::default(), "{spent:?}");
    // With no more than the host has there is nothing to explain.
    rig.guest.disable_msix();
    rig.guest.enable_msix_masked();
    (3..8).for_each(|at| rig.guest.mask(at));
    rig.guest.clear_function_mask();
    rig.settle(world)?;
    for at in 0..8 {
        let explained = rig.guest.0.explain(MessageSource::Msix(VectorIndex(at)));
        ensure!(explained.fault.is_none(), "{explained}");
    }
    Ok(())
}

fn refused_message() -> anyhow::Result<()> {
    let destination_ids = DestinationIds::Bits32;
    let vm = SimHost::default().vm(VmShape {
        destination_ids,
        ..VmShape::PC
    });
    let domain = VmDomain::new(vm.clone(), EmbedderRoutes::pc_pins(), destination_ids)?;
    let manager = Manager::new(domain, ManagerOptions::default())?;
    let device = SimDevice::pci().intx().msi(1).msix(1);
    let rig = Rig::on(manager, "device", 1, device)?;
    let settle = || -> anyhow::Result<()> {
        while rig.manager.service(Wait::No)?.events > 0 {}
        vm.pump();
        Ok(())
    };
    // Bits of the address that are no part of a destination id.
    let nowhere = MsiMessage {
        address: 0xff_fee0_0000,
        data: 0x40,
    };
    rig.guest.enable_msix([(0, message(vector(0)))]);
    settle()?;
    rig.guest.set_message(0, nowhere);
    let explained = rig.guest.0.explain(MessageSource::Msix(VectorIndex(0)));
    let text = explained.to_string();
    ensure!(text.contains("not served"), "{text}");
    rig.raise(0);
    settle()?;
    ensure!(vm.delivered(vector(0)) == 0, "with its old message");
    rig.guest.set_message(0, message(vector(1)));
    settle()?;
    ensure!(vm.delivered(vector(1)) == 1, "what waited is lost");
    Ok(())
}

fn refused_restore() -> anyhow::Result<()> {
    let world = SimWorld::new()?;
    let rig = Rig::new(&world, 4)?;
    rig.guest
        .enable_msix((0..2).map(|at| (at, message(vector(at)))));
    rig.guest.mask(1);
    rig.raise(1);
    rig.settle(&world)?;
    let before = rig.manager.save();
    ensure!(rig.manager.save() == before);

    let other = Rig::new(&world, 4)?;
    other
        .guest
        .enable_msix((0..4).map(|at| (at, message(vector(at + 4)))));
    let mut saved = other.manager.save();
    drop(other);

    // The device does not go along: everything is as it was, what is pending included.
    refuse_for_long(&rig, 3);
    let refused = rig.manager.restore(&saved);
    ensure!(
        matches!(
            refused,
            Err(RestoreManagerError::Refused {
                source: RestoreDeviceError::Fault { .. },
                ..
            })
        ),
        "{refused:?}"
    );
    ensure!(rig.manager.save() == before);
    rig.settle(&world)?;
    rig.raise(0);
    rig.settle(&world)?;
    rig.guest.unmask(1);
    rig.settle(&world)?;
    let found = [0, 1, 4, 5].map(|at| world.delivered(vector(at)));
    ensure!(found == [1, 1, 0, 0], "{found:?}");

    let before = rig.manager.save();
    saved.version += 1;
    let refused = rig.manager.restore(&saved);
    ensure!(matches!(refused, Err(RestoreManagerError::Version { .. })));
    saved.version -= 1;
    let device = saved.devices.get_mut("device").context("no device")?;
    device.interrupts.version += 1;
    let refused = rig.manager.restore(&saved);
    ensure!(matches!(refused, Err(RestoreManagerError::Refused { .. })));
    let device = saved.devices.remove("device").context("no device")?;
    saved.devices.insert("another".into(), device);
    let refused = rig.manager.restore(&saved);
    ensure!(matches!(refused, Err(RestoreManagerError::Device { .. })));
    ensure!(rig.manager.save() == before);
    ensure!(rig.sim.is_bound(IrqIndex::MSIX, 0));
    Ok(())
}
