//! What a guest's operations cost: the table of a design page, row by row.

use std::collections::BTreeMap;
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

/// Two fresh VMs for each size, so that no route of another is in the kernel's table.
fn page(world: &dyn Fn() -> anyhow::Result<Box<dyn World>>) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = fs::read_to_string(path)?;
    let (_, section) = text.split_once(HEADING).context("no such heading")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<&str> = rows.skip(1).collect();
    for size in SIZES {
        let mut found = measure(&*world()?, size)?;
        found.insert("restore N", measure_restore(&*world()?, size)?);
        for row in &rows {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [operation, guest, service] = cells[..] else {
                bail!("not three columns: {row}");
            };
            let wanted = [cost(guest, size)?, cost(service, size)?];
            let found = found.remove(operation).context(operation.to_owned())?;
            ensure!(
                found == wanted,
                "{operation}, N = {size}: {found:?} instead of {wanted:?}"
            );
        }
        ensure!(found.is_empty(), "not on the page: {found:?}");
    }
    Ok(())
}

/// The guest's thread and the service loop.
type Costs = [Spent; 2];

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

/// One operation after the other, by the name it has on the page.
fn measure(world: &dyn World, size: u16) -> anyhow::Result<BTreeMap<&'static str, Costs>> {
    let rig = Rig::new(world, size)?;
    let last = size - 1;
    let other = SimDevice::pci().intx().msi(32).msix(1);
    let other = Rig::on(rig.manager.clone(), "other", 1, other)?;
    // Beyond those of the largest table.
    let (others, new) = (distinct(2238), distinct(2239));
    let mut costs = BTreeMap::new();
    let mut note = |name, work: &dyn Fn(&GuestDriver)| -> anyhow::Result<()> {
        costs.insert(name, rig.spent_by_each(world, work)?);
        Ok(())
    };
    note("enable N", &|guest| enable(guest, size))?;
    note("mask", &|guest| guest.mask(last))?;
    note("unmask", &|guest| guest.unmask(last))?;
    note("10⁴ masks and unmasks", &|guest| {
        for _ in 0..TOGGLES {
            guest.mask(last);
            guest.unmask(last);
        }
    })?;
    other.guest.enable_msix([(0, others)]);
    rig.settle(world)?;
    note("new message, another vector's", &|guest| {
        guest.set_message(last, others);
    })?;
    note("new message, new route", &|guest| {
        guest.set_message(last, new);
    })?;
    note("disable N", &GuestDriver::disable_msix)?;
    let local = local_toggles(world, size)?;
    costs.insert("10⁴ masks and unmasks of a producer in this process", local);
    Ok(costs)
}

fn measure_restore(world: &dyn World, size: u16) -> anyhow::Result<Costs> {
    let elsewhere = SimWorld::new()?;
    let saved = Rig::new(&elsewhere, size)?;
    enable(&saved.guest, size);
    let saved = saved.manager.save();
    let rig = Rig::new(world, size)?;
    let mut restored = Ok(());
    let spent = rig.spent_by_each(world, |_| restored = rig.manager.restore(&saved))?;
    restored?;
    Ok(spent)
}

/// KVM's alone: there is no device to ask.
fn local_toggles(world: &dyn World, size: u16) -> anyhow::Result<Costs> {
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
