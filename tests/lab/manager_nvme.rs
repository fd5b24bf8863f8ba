//! A table of 2048 vectors of which a guest uses eight, through the manager of a VMM.
//!
//! The story plays the guest's driver: its writes to config space and table go to the manager. The
//! interrupts are fired by VFIO's loopback, and taken by a nested guest.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::Wait;
use irqbroker::manager::DeviceHandle;
use irqbroker::manager::DeviceShape;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker_vfio::abi::IrqAction;
use irqbroker_vfio::abi::IrqData;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::abi::IrqSet;
use irqbroker_vfio::pci::MsixLayout;

use crate::devices;
use crate::findings::Account;
use crate::findings::Findings;
use crate::machine::Machine;
use crate::machine::PATIENCE;
use crate::nested::Nested;
use crate::nested::message;

/// QEMU's NVMe controller, told to have as many vectors as MSI-X can.
pub(crate) const ID: (u16, u16) = (0x1b36, 0x0010);
const TABLE: u16 = 2048;
/// Some here, some there, and the last.
const USED: [u16; 8] = [0, 1, 2, 3, 700, 1024, 1500, 2047];
const FIRST_VECTOR: u8 = 0x80;
const ROUNDS: u64 = 10;

/// Enable, in the message control word (PCI Local Bus 3.0, 6.8.2.3).
const ENABLE: u16 = 1 << 15;
/// Mask bit of an entry's vector control (6.8.2.9).
const MASKED: u32 = 1;

struct Guest {
    manager: Manager,
    nvme: DeviceHandle,
    layout: MsixLayout,
}

impl Guest {
    fn write_entry(&self, vector: u16, target: u8, control: u32) {
        let message = message(target);
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&message.address.to_le_bytes());
        entry[8..12].copy_from_slice(&message.data.to_le_bytes());
        entry[12..].copy_from_slice(&control.to_le_bytes());
        let table = self.layout.table;
        let at = u64::from(table.offset) + 16 * u64::from(vector);
        // Whatever the manager leaves of it is nobody's: the table is all there is at that place.
        let _claim = self.nvme.bar_write(table.bar, at, &entry);
    }

    fn is_pending(&self, vector: u16) -> bool {
        let pba = self.layout.pba;
        let mut bits = [0; 8];
        let at = u64::from(pba.offset) + u64::from(vector / 64) * 8;
        let _claim = self.nvme.bar_read(pba.bar, at, &mut bits);
        u64::from_le_bytes(bits) >> (vector % 64) & 1 == 1
    }

    /// The VMM's loop, until the guest has taken an interrupt for the `runs`th time.
    fn serve_until(&self, nested: &Nested, target: u8, runs: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while nested.delivered(target) < runs {
            ensure!(
                Instant::now() < deadline,
                "vector {target:#04x}, run {runs}"
            );
            self.manager.service(Wait::For(Duration::from_millis(1)))?;
        }
        Ok(())
    }
}

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    let opened = devices::open(ID)?;
    let device = opened.device();
    let nested = Nested::new()?;
    let manager = Manager::new(nested.domain().clone(), ManagerOptions::default())?;
    let shape = DeviceShape::of(&*device)?;
    let msix = shape.layout.msix.context("no msi-x")?;
    ensure!(msix.layout.vectors == TABLE, "{msix:?}");
    let source = DeviceSource::Vfio(opened.producers());
    let nvme = manager.add_device(devices::address(ID)?.to_string(), source, shape)?;
    let guest = Guest {
        manager,
        nvme,
        layout: msix.layout,
    };
    let used = || USED.into_iter().zip(FIRST_VECTOR..);
    for (vector, target) in used() {
        guest.write_entry(vector, target, 0);
    }
    let _claim = guest
        .nvme
        .config_write(u16::from(msix.at) + 2, &ENABLE.to_le_bytes());
    guest.manager.service(Wait::No)?;
    let tables = nested.ioctls().commits;
    ensure!(tables == 1, "{tables} routing tables for all vectors");
    let rows = host_interrupts()?;
    ensure!(
        rows == USED.len(),
        "{rows} host interrupts for {} vectors",
        USED.len()
    );

    let fire = |vector: u16| {
        device.set_irqs(&IrqSet {
            index: IrqIndex::MSIX,
            start: vector.into(),
            action: IrqAction::Trigger,
            data: IrqData::None { count: 1 },
        })
    };
    let mut account = Account::default();
    let mut runs = 0;
    for _ in 0..ROUNDS {
        runs += 1;
        for (vector, target) in used() {
            fire(vector)?;
            guest.serve_until(&nested, target, runs)?;
        }
        // The same behind the mask: it pends until the unmask, and the pending bit tells.
        runs += 1;
        for (vector, target) in used() {
            guest.write_entry(vector, target, MASKED);
            ensure!(!guest.is_pending(vector), "{vector} pends before its event");
            fire(vector)?;
            ensure!(guest.is_pending(vector), "{vector} does not pend");
            nested.settle()?;
            ensure!(
                nested.delivered(target) == runs - 1,
                "{vector} fired through its mask"
            );
            guest.write_entry(vector, target, 0);
            guest.serve_until(&nested, target, runs)?;
        }
    }
    nested.settle()?;
    for (_, target) in used() {
        account.round(runs, nested.delivered(target));
    }
    ensure!(account.coalesced == 0, "{account:?}");
    let tables = nested.ioctls().commits;
    ensure!(tables == 1, "masks wrote {} routing tables", tables - 1);
    Ok(Findings::counted(account)
        .fact("table", TABLE)
        .fact("host_interrupts", rows)
        .fact("routing_tables", tables))
}

/// Rows of the device's vectors in the host kernel's own table.
fn host_interrupts() -> anyhow::Result<usize> {
    let table = fs::read_to_string("/proc/interrupts")?;
    let address = format!("]({})", devices::address(ID)?);
    Ok(table.lines().filter(|row| row.ends_with(&address)).count())
}
