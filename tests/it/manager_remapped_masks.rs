//! Masks and pending bits behind a guest's remapping unit, at the device and at the source.

use std::sync::Arc;

use anyhow::ensure;
use irqbroker::manager::DeviceShape;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker::remapping::VtdFaultReason;
use irqbroker_core::LocalProducer;
use irqbroker_core::Wait;
use irqbroker_vfio::pci::IntxSource;
use libtest_mimic::Trial;
use posted_irq::VtdIrte;

use crate::manager_remapped::NEW;
use crate::manager_remapped::OLD;
use crate::manager_remapped_rig::BYPASS;
use crate::manager_remapped_rig::Behind;
use crate::manager_rig::GuestDriver;
use crate::manager_rig::Spent;
use crate::manager_rig::layout;
use crate::manager_rig::vector;
use crate::remapping_rig::DEVICE;
use crate::remapping_rig::GuestTable;
use crate::remapping_rig::entry;
use crate::remapping_rig::handle;
use crate::remapping_rig::on_both_split;
use crate::remapping_rig::one;
use crate::remapping_rig::set_up;
use crate::remapping_rig::unit;
use crate::world::World;

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = Vec::new();
    stories.extend(on_both_split(
        "manager_pending_bits_behind_a_unit_are_exact_and_unmask_by_the_new_entry",
        pending,
    ));
    stories.extend(on_both_split(
        "manager_vector_masked_at_its_source_behind_a_unit_unmasks_by_the_new_entry",
        in_process,
    ));
    stories
}

fn pending(world: &dyn World) -> anyhow::Result<()> {
    let behind = Behind::new(world, 2)?;
    let guest = &behind.rig.guest;
    behind.lead(0, OLD);
    behind.lead(1, vector(9));
    behind.enable(2);
    behind.rig.settle(world)?;

    guest.mask(0);
    behind.interrupt(world, 0)?;
    ensure!(guest.is_pending(0) && !guest.is_pending(1));
    behind.lead(0, NEW);
    let off = behind.spent_on(world, 0)?;
    ensure!(off == (Spent::default(), 1), "the mask has detached it");
    ensure!(guest.is_pending(0), "a look drained it");
    guest.unmask(0);
    ensure!(behind.rig.taken(world, NEW, 0, 1)? == 1);
    ensure!(world.delivered(OLD) == 0 && !guest.is_pending(0));
    ensure!(behind.state(0)? == BYPASS);

    // The same by the function mask, and the entry has gone: no fault before the interrupt.
    guest.enable_msix_masked();
    behind.interrupt(world, 0)?;
    behind.table.write(0, VtdIrte::default());
    ensure!(behind.invalidate(0)? == 1);
    behind.rig.settle(world)?;
    ensure!(guest.is_pending(0) && behind.faults.take().is_empty());
    guest.clear_function_mask();
    behind.rig.settle(world)?;
    let faults = behind.faults.take();
    ensure!(
        faults.len() == 1 && faults[0].reason == VtdFaultReason::NotPresent,
        "{faults:?}"
    );
    ensure!(!guest.is_pending(0) && world.delivered(NEW) == 1);
    ensure!(behind.state(1)? == BYPASS);
    Ok(())
}

/// A producer of this process keeps its irqfd under the mask, since nothing comes out of it.
fn in_process(world: &dyn World) -> anyhow::Result<()> {
    let manager = Manager::new(Arc::clone(world.domain()), ManagerOptions::default())?;
    let table = GuestTable::new();
    let (unit, faults) = unit(manager.registry(), world.domain(), set_up(), table.clone());
    let head = LocalProducer::new("head")?;
    let shape = DeviceShape {
        layout: layout(1, IntxSource::Tracked),
        device_id: None,
    };
    let source = DeviceSource::Local(vec![head.clone()]);
    let device = manager.add_device_behind(unit.device(DEVICE), "gpu", source, shape)?;
    let guest = GuestDriver(device);
    let settle = || -> anyhow::Result<()> {
        while manager.service(Wait::No)?.events > 0 {}
        world.settle()
    };
    table.write(0, entry(0, OLD));
    guest.enable_msix([(0, handle(0))]);
    settle()?;
    head.signal();
    settle()?;
    guest.mask(0);
    head.signal();
    table.write(0, entry(0, NEW));
    let before = world.ioctls();
    ensure!(unit.invalidate(one(0))?.links == 1 && guest.is_pending(0));
    ensure!(world.ioctls() == before);
    guest.unmask(0);
    settle()?;
    let found = [OLD, NEW].map(|vector| world.delivered(vector));
    ensure!(found == [1, 1] && !guest.is_pending(0), "{found:?}");
    ensure!(unit.cached() == 1 && faults.take().is_empty());
    Ok(())
}
