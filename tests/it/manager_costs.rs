//! What a guest's operations cost: the table of a design page, row by row.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker::manager::DeviceShape;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker_core::LocalProducer;
use irqbroker_core::MsiMessage;
use irqbroker_core::Wait;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::pci::IntxSource;
use libtest_mimic::Trial;

use crate::manager_rig::GuestDriver;
use crate::manager_rig::Rig;
use crate::manager_rig::Spent;
use crate::manager_rig::layout;
use crate::need::Need;
use crate::need::story;
use crate::world::KvmWorld;
use crate::world::SimWorld;
use crate::world::World;

const PAGE: &str = "design/pci-interrupts.md";
const HEADING: &str = "## Ioctls per guest operation";
/// One vector, a NIC's, the most there are.
const SIZES: [u16; 3] = [1, 64, 2048];
const TOGGLES: usize = 10_000;

pub(crate) fn stories() -> Vec<Trial> {
    let name = "manager_costs_what_the_page_says";
    vec![
        story(name, Need::Nothing, || {
            page(&|| Ok(Box::new(SimWorld::new()?)))
        }),
        story(format!("{name}_on_kvm"), Need::Kvm, || {
            page(&|| Ok(Box::new(KvmWorld::new()?)))
        }),
    ]
}

/// A fresh VM for each row, so that no route of another is in the kernel's table.
fn page(world: &dyn Fn() -> anyhow::Result<Box<dyn World>>) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = fs::read_to_string(path)?;
    let (_, section) = text.split_once(HEADING).context("no such heading")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let mut seen = 0;
    for row in rows.skip(1) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [operation, guest, service] = cells[..] else {
            bail!("not three columns: {row}");
        };
        for size in SIZES {
            let found = measure(&*world()?, operation, size).context(operation.to_owned())?;
            let wanted = [cost(guest, size)?, cost(service, size)?];
            ensure!(
                found == wanted,
                "{operation}, N = {size}: {found:?} instead of {wanted:?}"
            );
        }
        seen += 1;
    }
    // As many operations as `measure` knows.
    ensure!(seen == 9, "{seen} rows");
    Ok(())
}

/// `1 table, N assign`.
fn cost(cell: &str, size: u16) -> anyhow::Result<Spent> {
    let mut spent = Spent::default();
    if cell == "–" {
        return Ok(spent);
    }
    for item in cell.split(", ") {
        let (count, what) = item.split_once(' ').context(cell.to_owned())?;
        let count = match count {
            "N" => size.into(),
            count => count.parse()?,
        };
        match what {
            "SET_IRQS" => spent.set_irqs = count,
            "table" => spent.kvm.commits = count,
            "assign" => spent.kvm.assigns = count,
            "deassign" => spent.kvm.deassigns = count,
            _ => bail!("{what} is no ioctl"),
        }
    }
    Ok(spent)
}

/// Messages that differ from each other: 224 vectors times ten destinations.
fn distinct(at: u16) -> MsiMessage {
    let (destination, vector) = (at / 224, at % 224 + 0x20);
    MsiMessage {
        address: 0xfee0_0000 | u64::from(destination) << 12,
        data: vector.into(),
    }
}

fn enable(guest: &GuestDriver, size: u16) {
    guest.enable_msix((0..size).map(|vector| (vector, distinct(vector))));
}

/// What an operation costs the guest's thread and the service loop.
fn measure(world: &dyn World, operation: &str, size: u16) -> anyhow::Result<[Spent; 2]> {
    let rig = Rig::new(world, size)?;
    let last = size - 1;
    if operation == "enable N" {
        return rig.spent_by_each(world, |guest| enable(guest, size));
    }
    if operation == "restore N" {
        let elsewhere = SimWorld::new()?;
        let saved = Rig::new(&elsewhere, size)?;
        enable(&saved.guest, size);
        let saved = saved.manager.save();
        let mut restored = Ok(());
        let spent = rig.spent_by_each(world, |_| restored = rig.manager.restore(&saved))?;
        restored?;
        return Ok(spent);
    }
    enable(&rig.guest, size);
    rig.settle(world)?;
    match operation {
        "mask" => rig.spent_by_each(world, |guest| guest.mask(last)),
        "unmask" => {
            rig.guest.mask(last);
            rig.settle(world)?;
            rig.spent_by_each(world, |guest| guest.unmask(last))
        }
        "10⁴ masks and unmasks" => rig.spent_by_each(world, |guest| {
            for _ in 0..TOGGLES {
                guest.mask(last);
                guest.unmask(last);
            }
        }),
        "10⁴ masks and unmasks of a producer in this process" => local_toggles(world, size),
        "new message, another vector's" => {
            let other = SimDevice::pci().intx().msi(32).msix(1);
            let other = Rig::on(rig.manager.clone(), "other", 1, other)?;
            // The last one of `distinct`.
            let message = distinct(2239);
            other.guest.enable_msix([(0, message)]);
            rig.settle(world)?;
            rig.spent_by_each(world, |guest| guest.set_message(last, message))
        }
        "new message, new route" => {
            rig.spent_by_each(world, |guest| guest.set_message(last, distinct(2239)))
        }
        "disable N" => rig.spent_by_each(world, GuestDriver::disable_msix),
        _ => bail!("not known"),
    }
}

/// KVM's alone: there is no device to ask.
fn local_toggles(world: &dyn World, size: u16) -> anyhow::Result<[Spent; 2]> {
    let manager = Manager::new(Arc::clone(world.domain()), ManagerOptions::default())?;
    let head = LocalProducer::new("head")?;
    let shape = DeviceShape {
        layout: layout(size, IntxSource::Tracked),
        device_id: None,
    };
    let source = DeviceSource::Local(vec![head.clone()]);
    let guest = GuestDriver(manager.add_device("gpu", source, shape)?);
    guest.enable_msix([(0, distinct(0))]);
    let service = || -> anyhow::Result<()> {
        while manager.service(Wait::No)?.events > 0 {}
        Ok(())
    };
    service()?;
    let before = world.ioctls();
    for _ in 0..TOGGLES {
        guest.mask(0);
        head.signal();
        guest.unmask(0);
    }
    let between = world.ioctls();
    service()?;
    let kvm = |kvm| Spent { kvm, set_irqs: 0 };
    Ok([kvm(between - before), kvm(world.ioctls() - between)])
}
