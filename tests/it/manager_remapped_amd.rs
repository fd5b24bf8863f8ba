//! Devices of a manager behind an AMD IOMMU of the guest's, which invalidates by device.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker::remapping::AmdDeviceTable;
use irqbroker::remapping::AmdFault;
use irqbroker::remapping::AmdInvalidation;
use irqbroker::remapping::AmdIrteLayout;
use irqbroker::remapping::AmdRemapper;
use irqbroker::remapping::ApicIdFormat;
use irqbroker::remapping::GuestMode;
use irqbroker::remapping::RemappingUnit;
use irqbroker_core::MsiMessage;
use irqbroker_core::Reason;
use irqbroker_core::Rid;
use irqbroker_core::Vector;
use irqbroker_vfio::ProducerDevice;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::VectorIndex;
use libtest_mimic::Trial;
use posted_irq::AmdIrte;
use posted_irq::AmdRemapped;
use posted_irq::ApicId;
use posted_irq::DteInterrupt;
use posted_irq::IntCtl;
use posted_irq::SourceId;

use crate::manager_remapped::NEW;
use crate::manager_rig::Rig;
use crate::manager_rig::vector;
use crate::remapping_rig::GuestTable;
use crate::remapping_rig::TABLE;
use crate::remapping_rig::on_both_split;
use crate::world::World;

pub(crate) fn stories() -> Vec<Trial> {
    on_both_split(
        "manager_devices_behind_an_amd_unit_are_invalidated_one_by_one",
        one_by_one,
    )
    .into()
}

const NIC: Rid = Rid(3 << 3);
const DISK: Rid = Rid(4 << 3);
/// Vectors of each device.
const VECTORS: u16 = 2;
/// Where a device's interrupt table is, past the device table.
const fn interrupt_table(device: Rid) -> usize {
    0x4000 + 0x100 * (device.0 as usize >> 3)
}

fn set_up() -> AmdRemapper {
    AmdRemapper {
        table: Some(AmdDeviceTable {
            base: TABLE,
            devices: 256,
        }),
        layout: AmdIrteLayout::Wide {
            apic_ids: ApicIdFormat::X2Apic,
            guest_mode: GuestMode::NotOffered,
        },
    }
}

/// The guest gives a device an interrupt table of 16 entries.
fn write_device(table: &GuestTable, device: Rid) -> anyhow::Result<()> {
    let address = TABLE + u64::try_from(interrupt_table(device))?;
    let entry = DteInterrupt::new()
        .with_iv(true)
        .with_int_tab_len(4)
        .with_int_table(address >> 6)
        .with_int_ctl(IntCtl::Remap);
    let at = 32 * usize::from(device.0) + 16;
    table.write_bytes(at, &entry.into_bits().to_le_bytes());
    Ok(())
}

fn write_entry(table: &GuestTable, device: Rid, index: u16, entry: AmdRemapped) {
    let at = interrupt_table(device) + 16 * usize::from(index);
    table.write_bytes(at, &AmdIrte::from(entry).into_bits().to_le_bytes());
}

fn to(vector: Vector) -> AmdRemapped {
    AmdRemapped::new()
        .with_remap_en(true)
        .with_vector(vector.0)
        .with_destination(ApicId(0))
}

fn one_by_one(world: &dyn World) -> anyhow::Result<()> {
    let manager = Manager::new(Arc::clone(world.domain()), ManagerOptions::default())?;
    let table = GuestTable::new();
    let faults: Arc<Mutex<Vec<AmdFault>>> = Arc::default();
    let recorded = Arc::clone(&faults);
    let lock = |faults: &Mutex<Vec<AmdFault>>| {
        let mut faults = faults.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *faults)
    };
    let unit = RemappingUnit::new(
        manager.registry().clone(),
        Arc::clone(world.domain()),
        set_up(),
        table.clone(),
        move |fault: &AmdFault| {
            let mut faults = recorded.lock().unwrap_or_else(PoisonError::into_inner);
            faults.push(*fault);
        },
    );
    let device = |name, id: Rid, first: u16| -> anyhow::Result<Rig> {
        write_device(&table, id)?;
        let sim = SimDevice::pci().intx().msi(1).msix(VECTORS.into());
        let rig = Rig::added(manager.clone(), VECTORS, sim, |manager, sim, shape| {
            let source = DeviceSource::Vfio(ProducerDevice::new(name, sim, None)?);
            Ok(manager.add_device_behind(unit.device(id), name, source, shape)?)
        })?;
        // The index is the data's.
        let address = 0xfee0_0000;
        rig.guest.enable_msix((0..VECTORS).map(|index| {
            write_entry(&table, id, index, to(vector(first + index)));
            let data = u32::from(index);
            (index, MsiMessage { address, data })
        }));
        rig.settle(world)?;
        Ok(rig)
    };
    let (nic, disk) = (device("nic", NIC, 0)?, device("disk", DISK, VECTORS)?);
    let interrupt = |rig: &Rig, at: u16| {
        rig.raise(at);
        rig.settle(world)
    };
    let all = || -> anyhow::Result<()> {
        for rig in [&nic, &disk] {
            (0..VECTORS).try_for_each(|at| interrupt(rig, at))?;
        }
        Ok(())
    };
    let delivered = || [0, 1, 2, 3].map(|at| world.delivered(vector(at)));
    let reason = |rig: &Rig, at| -> anyhow::Result<Reason> {
        let explained = rig.guest.0.explain(MessageSource::Msix(VectorIndex(at)));
        Ok(explained.delivery.context("no link")?.reason)
    };
    all()?;
    ensure!(delivered() == [1; 4], "{:?}", delivered());

    // An entry moves, the other goes, and the guest names the device.
    write_entry(&table, NIC, 0, to(NEW));
    write_entry(&table, NIC, 1, AmdRemapped::new());
    let before = world.ioctls();
    let invalidation = AmdInvalidation::InterruptTable(SourceId(NIC.0));
    ensure!(unit.invalidate(invalidation)?.links == usize::from(VECTORS));
    let spent = world.ioctls() - before;
    ensure!(spent.deassigns == u64::from(VECTORS) && spent.commits == 0);
    for at in 0..VECTORS {
        ensure!(reason(&nic, at)? == Reason::Untranslated);
        ensure!(reason(&disk, at)? == Reason::Best, "touched");
    }
    ensure!(lock(&faults).is_empty());
    all()?;
    ensure!(delivered() == [1, 1, 2, 2] && world.delivered(NEW) == 1);
    ensure!(lock(&faults).len() == 1, "the entry that has gone");
    ensure!(reason(&nic, 0)? == Reason::Best && reason(&nic, 1)? == Reason::Untranslated);
    Ok(())
}
