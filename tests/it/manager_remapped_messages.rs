//! The kinds of messages that a guest gives a device behind its remapping unit.

use anyhow::ensure;
use irqbroker::remapping::CompatibilityFormat;
use irqbroker::remapping::IecInvalidation;
use irqbroker::remapping::VtdFaultReason;
use irqbroker::remapping::VtdRemapper;
use irqbroker_core::MsiMessage;
use irqbroker_kvm::IoctlCounts;
use irqbroker_vfio::abi::IrqIndex;
use libtest_mimic::Trial;
use posted_irq::Irta;
use posted_irq::Msi;
use posted_irq::RemappableMsi;

use crate::manager_remapped::NEW;
use crate::manager_remapped::OLD;
use crate::manager_remapped::kvm;
use crate::manager_remapped_rig::BYPASS;
use crate::manager_remapped_rig::Behind;
use crate::manager_remapped_rig::Setting;
use crate::manager_remapped_rig::UNTRANSLATED;
use crate::manager_rig::vector;
use crate::remapping_rig::handle;
use crate::remapping_rig::on_both_split;
use crate::remapping_rig::set_up;
use crate::world::World;
use crate::world::message;

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = Vec::new();
    stories.extend(on_both_split(
        "manager_new_message_behind_a_unit_is_looked_up_anew",
        new_message,
    ));
    stories.extend(on_both_split(
        "manager_compatibility_format_behind_a_unit_goes_by_the_units_rule",
        compatibility,
    ));
    stories.extend(on_both_split(
        "manager_msi_behind_a_unit_has_subhandles",
        subhandles,
    ));
    stories
}

fn new_message(world: &dyn World) -> anyhow::Result<()> {
    let behind = Behind::new(world, 1)?;
    behind.lead(0, OLD);
    behind.lead(1, NEW);
    behind.enable(1);
    behind.rig.settle(world)?;
    let spent = behind.rig.spent(world, |guest| {
        guest.set_message(0, handle(1));
    })?;
    let moved = kvm(IoctlCounts {
        deassigns: 1,
        commits: 1,
        assigns: 1,
        ..IoctlCounts::default()
    });
    ensure!(spent == moved, "{spent:?}");
    behind.interrupt(world, 0)?;
    ensure!([OLD, NEW].map(|vector| world.delivered(vector)) == [0, 1]);
    // The entry it went by before is nothing to it any more.
    ensure!(behind.invalidate(0)? == 0 && behind.state(0)? == BYPASS);
    ensure!(behind.invalidate(1)? == 1 && behind.state(0)? == UNTRANSLATED);
    Ok(())
}

fn compatibility(world: &dyn World) -> anyhow::Result<()> {
    for (rule, passes) in [
        (CompatibilityFormat::Passed, true),
        (CompatibilityFormat::Blocked, false),
    ] {
        let narrow = set_up().table.map(|table: Irta| table.with_eime(false));
        let setting = Setting {
            remapper: VtdRemapper {
                compatibility: rule,
                table: narrow,
                ..set_up()
            },
            ..Setting::default()
        };
        let behind = Behind::with(world.domain(), 2, setting)?;
        behind.lead(0, OLD);
        let before = [OLD, NEW].map(|vector| world.delivered(vector));
        let messages = [(0, handle(0)), (1, message(NEW))];
        behind.rig.guest.enable_msix(messages);
        behind.rig.settle(world)?;
        let expected = if passes { BYPASS } else { UNTRANSLATED };
        ensure!(behind.state(0)? == BYPASS && behind.state(1)? == expected);
        for at in [0, 1] {
            behind.interrupt(world, at)?;
        }
        let found = [OLD, NEW].map(|vector| world.delivered(vector));
        ensure!(found == [before[0] + 1, before[1] + u64::from(passes)]);
        let faults = behind.faults.take();
        let blocked = faults
            .iter()
            .filter(|fault| fault.reason == VtdFaultReason::CompatibilityBlocked);
        ensure!(blocked.count() == usize::from(!passes), "{faults:?}");
        // No entry was looked at for it, so that none of them names it.
        ensure!(behind.invalidate(1)? == 0);
        let all = behind.unit.invalidate(IecInvalidation::Global)?.links;
        ensure!(all == 1 + usize::from(passes), "{all}");
    }
    Ok(())
}

fn subhandles(world: &dyn World) -> anyhow::Result<()> {
    /// Where the block of entries begins, and as log2 how many vectors the guest takes.
    const FIRST: u16 = 8;
    const LOG2: u16 = 2;
    let behind = Behind::new(world, 1)?;
    for at in 0..1 << LOG2 {
        behind.lead(FIRST + at, vector(at));
    }
    let Msi { address, data } = RemappableMsi {
        handle: FIRST,
        subhandle: Some(0),
    }
    .encode();
    behind
        .rig
        .guest
        .enable_msi(LOG2, MsiMessage { address, data });
    behind.rig.settle(world)?;
    let raise = |at: u16| {
        behind.rig.sim.raise(IrqIndex::MSI, at.into());
        behind.rig.settle(world)
    };
    (0..1 << LOG2).try_for_each(raise)?;
    let delivered = || [0, 1, 2, 3].map(|at| world.delivered(vector(at)));
    ensure!(delivered() == [1; 4], "{:?}", delivered());
    // The second one's entry, and no other's.
    behind.lead(FIRST + 1, NEW);
    let before = world.ioctls();
    ensure!(behind.invalidate(FIRST + 1)? == 1);
    ensure!((world.ioctls() - before).deassigns == 1);
    (0..1 << LOG2).try_for_each(raise)?;
    ensure!(delivered() == [2, 1, 2, 2] && world.delivered(NEW) == 1);
    Ok(())
}
