//! A guest, a simulated MSI-X device and everything a guest can do to it: none lost, none invented.

use std::sync::Arc;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::manager::DeviceShape;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker_core::DeliveryState;
use irqbroker_core::Promotion;
use irqbroker_core::Wait;
use irqbroker_vfio::ProducerDevice;
use irqbroker_vfio::Raised;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::IrqAction;
use irqbroker_vfio::abi::IrqData;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::abi::IrqSet;
use irqbroker_vfio::conformance::KernelProfile;
use irqbroker_vfio::pci::InterruptMode;
use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::VectorIndex;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuParent;
use irqbroker_vgpu::VgpuType;
use libtest_mimic::Trial;

use crate::manager_rig::Rig;
use crate::manager_rig::vector;
use crate::world::World;
use crate::world::message;
use crate::world::on_both;

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = Vec::new();
    for (name, body) in [
        (
            "manager_device_goes_through_its_life_without_a_lost_or_invented_interrupt",
            life as fn(&dyn World) -> anyhow::Result<()>,
        ),
        (
            "manager_messages_of_msi_have_each_its_own_vector",
            multi_message,
        ),
        (
            "manager_vectors_are_relayed_until_the_service_loop_promotes_them",
            deferred,
        ),
        (
            "manager_index_that_cannot_grow_is_enabled_whole_and_never_again",
            no_resize,
        ),
        ("manager_takes_a_vgpu_as_it_takes_any_device", vgpu),
        (
            "manager_device_that_is_removed_leaves_nothing_behind",
            remove,
        ),
    ] {
        stories.extend(on_both(name, body));
    }
    stories
}

fn raise(rig: &Rig, at: u16) -> anyhow::Result<()> {
    let raised = rig.raise(at);
    ensure!(raised == Raised::Signalled, "vector {at}: {raised:?}");
    Ok(())
}

fn state(rig: &Rig, at: u16) -> Option<DeliveryState> {
    let explained = rig.guest.0.explain(MessageSource::Msix(VectorIndex(at)));
    explained.delivery.map(|delivery| delivery.state)
}

fn life(world: &dyn World) -> anyhow::Result<()> {
    let rig = Rig::new(world, 4)?;
    let expect = |rig: &Rig, step: &str, counts: [u64; 4]| {
        rig.settle(world)?;
        for (at, owed) in (0..).zip(counts) {
            rig.taken(world, vector(at), 0, owed)?;
        }
        let found = [0, 1, 2, 3].map(|at| world.delivered(vector(at)));
        ensure!(found == counts, "{step}: {found:?} instead of {counts:?}");
        Ok(())
    };
    rig.guest
        .enable_msix((0..3).map(|at| (at, message(vector(at)))));
    expect(&rig, "enable", [0; 4])?;
    ensure!(rig.guest.0.mode() == InterruptMode::Msix);
    ensure!(state(&rig, 0) == Some(DeliveryState::Bypass));
    ensure!(state(&rig, 3).is_none(), "the fourth was never unmasked");

    raise(&rig, 1)?;
    expect(&rig, "raise", [0, 1, 0, 0])?;

    rig.guest.mask(1);
    (0..3).try_for_each(|_| raise(&rig, 1))?;
    expect(&rig, "masked", [0, 1, 0, 0])?;
    ensure!(rig.guest.is_pending(1), "its bit is not set");
    ensure!(rig.guest.is_pending(1), "the first look has drained it");
    ensure!(!rig.guest.is_pending(0));
    rig.guest.unmask(1);
    expect(&rig, "unmask", [0, 2, 0, 0])?;
    ensure!(!rig.guest.is_pending(1));

    rig.guest.set_message(1, message(vector(3)));
    raise(&rig, 1)?;
    expect(&rig, "retarget", [0, 2, 0, 1])?;

    rig.guest.mask(2);
    raise(&rig, 2)?;
    let saved = rig.manager.save();
    rig.guest.disable_msix();
    ensure!(rig.raise(2) == Raised::Unbound);
    ensure!(rig.sim.active().is_none());
    rig.guest.enable_msix([]);
    rig.guest.unmask(2);
    expect(&rig, "disable, enable, unmask", [0, 2, 1, 1])?;

    // The state with vector 2 pending, on another device.
    drop(rig);
    let rig = Rig::new(world, 4)?;
    rig.manager.restore(&saved)?;
    expect(&rig, "restore", [0, 2, 1, 1])?;
    ensure!(rig.guest.is_pending(2));
    ensure!(rig.manager.save() == saved, "saved twice, and not the same");
    raise(&rig, 0)?;
    raise(&rig, 1)?;
    rig.guest.unmask(2);
    expect(&rig, "unmask after restore", [1, 2, 2, 2])
}

fn multi_message(world: &dyn World) -> anyhow::Result<()> {
    let rig = Rig::new(world, 1)?;
    // Eight of them from a multiple of eight.
    rig.guest.enable_msi(3, message(vector(0)));
    rig.settle(world)?;
    ensure!(rig.guest.0.mode() == InterruptMode::Msi);
    for at in 0..8u16 {
        for _ in 0..=at {
            let raised = rig.sim.raise(IrqIndex::MSI, at.into());
            ensure!(raised == Raised::Signalled, "{raised:?}");
            rig.settle(world)?;
        }
    }
    for at in 0..8u16 {
        let owed = u64::from(at) + 1;
        let found = rig.taken(world, vector(at), 0, owed)?;
        ensure!(found == owed, "{at}: {found}");
    }
    ensure!(world.domain().leased() == 8);
    rig.guest.disable_msi();
    ensure!(rig.sim.active().is_none());
    ensure!(world.domain().leased() == 0);
    Ok(())
}

fn deferred(world: &dyn World) -> anyhow::Result<()> {
    let rig = Rig::new(world, 2)?;
    let before = world.ioctls();
    rig.guest.enable_msix([(0, message(vector(0)))]);
    ensure!(world.ioctls() == before, "the guest's access made ioctls");
    ensure!(state(&rig, 0) == Some(DeliveryState::Relay));
    raise(&rig, 0)?;
    rig.settle(world)?;
    ensure!(state(&rig, 0) == Some(DeliveryState::Bypass));
    ensure!(rig.taken(world, vector(0), 0, 1)? == 1);

    let options = ManagerOptions {
        promotion: Promotion::Immediate,
        ..ManagerOptions::default()
    };
    let rig = Rig::with(world, 2, SimDevice::pci().intx().msi(1).msix(2), options)?;
    rig.guest.enable_msix([(0, message(vector(1)))]);
    // Nobody services it.
    ensure!(state(&rig, 0) == Some(DeliveryState::Bypass));
    raise(&rig, 0)?;
    ensure!(rig.taken(world, vector(1), 0, 1)? == 1);
    Ok(())
}

fn no_resize(world: &dyn World) -> anyhow::Result<()> {
    let device = SimDevice::pci().intx().msi(32).msix(16);
    let device = device.kernel(KernelProfile::LINUX_6_1);
    let rig = Rig::with(world, 16, device, ManagerOptions::default())?;
    let one = |at: u16| (at, message(vector(at)));
    let spent = rig.spent(world, |guest| guest.enable_msix([one(0), one(1)]))?;
    ensure!(spent.set_irqs == 2, "{spent:?}");
    raise(&rig, 1)?;
    rig.guest.mask(1);
    raise(&rig, 1)?;
    // More of them later, as a driver does that brings queues up one by one.
    for at in 2..16 {
        let spent = rig.spent(world, |guest| {
            guest.set_message(at, one(at).1);
            guest.unmask(at);
        })?;
        ensure!(spent.set_irqs == 1, "vector {at}: {spent:?}");
        raise(&rig, 0)?;
        rig.settle(world)?;
    }
    rig.guest.unmask(1);
    rig.settle(world)?;
    for (at, owed) in [(0, 14), (1, 2)] {
        let found = rig.taken(world, vector(at), 0, owed)?;
        ensure!(found == owed, "vector {at}: {found}");
    }
    Ok(())
}

fn remove(world: &dyn World) -> anyhow::Result<()> {
    let rig = Rig::new(world, 64)?;
    rig.guest
        .enable_msix((0..64).map(|at| (at, message(vector(at)))));
    rig.settle(world)?;
    ensure!(world.domain().leased() == 64);
    let Rig {
        guest,
        sim,
        manager,
        ..
    } = rig;
    drop(guest);
    ensure!(world.domain().leased() == 0);
    ensure!(manager.registry().snapshot().is_empty());
    ensure!(sim.active().is_none());
    ensure!(manager.save().devices.is_empty());
    let source = DeviceSource::Local(Vec::new());
    let again = manager.add_device("device", source, DeviceShape::default());
    drop(again.context("its name is not free")?);
    Ok(())
}

fn vgpu(world: &dyn World) -> anyhow::Result<()> {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let vgpu = VgpuType::find("small").context("no such type")?;
    let device = parent.create_device(&vgpu, None)?;
    let manager = Manager::new(Arc::clone(world.domain()), ManagerOptions::default())?;
    let shape = DeviceShape::of(&*device)?;
    let msix = shape.layout.msix.context("a vgpu without msi-x")?;
    let (control, table) = (u16::from(msix.at) + 2, msix.layout.table);
    let producers = ProducerDevice::new("vgpu", device.clone(), None)?;
    let handle = manager.add_device("vgpu", DeviceSource::Vfio(producers), shape)?;
    handle.config_write(control, &0x8000u16.to_le_bytes());
    let mut entry = [0; 16];
    entry[..8].copy_from_slice(&0xfee0_0000u64.to_le_bytes());
    entry[8] = vector(0).0;
    handle.bar_write(table.bar, table.offset.into(), &entry);
    while manager.service(Wait::No)?.events > 0 {}
    let explained = handle.explain(MessageSource::Msix(VectorIndex(0)));
    let delivery = explained.delivery.context("no link")?;
    ensure!(delivery.state == DeliveryState::Bypass, "{explained}");
    // VFIO's loopback test.
    device.set_irqs(&IrqSet {
        index: IrqIndex::MSIX,
        start: 0,
        action: IrqAction::Trigger,
        data: IrqData::None { count: 1 },
    })?;
    for _ in 0..100 {
        world.settle()?;
    }
    ensure!(world.delivered(vector(0)) == 1);
    Ok(())
}
