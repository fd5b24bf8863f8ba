//! The fewest calls that bring vectors up: one by one, and all at once.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use irqbroker_core::Gsi;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::MsiRoute;
use irqbroker_kvm::Route;
use irqbroker_kvm::RouteEntry;
use irqbroker_kvm::VmIrq;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use crate::vm::message;

/// The first GSI above the IOAPIC's pins.
const FIRST_GSI: u32 = 24;

/// What follows the guest's writes one by one: a table and an irqfd for each vector.
pub(crate) fn per_vector(vm: &dyn VmIrq, vectors: u32) -> anyhow::Result<Vec<OwnedFd>> {
    let mut table: Vec<RouteEntry> = EmbedderRoutes::pc_pins().entries().collect();
    let mut events = Vec::new();
    for at in 0..vectors {
        let event = event()?;
        table.push(entry(at));
        vm.commit_routes(&table)?;
        vm.assign_irqfd(event.as_fd(), Gsi(FIRST_GSI + at))?;
        events.push(event);
    }
    Ok(events)
}

/// What no way of doing it can be below: one table, an eventfd and an irqfd for each vector.
pub(crate) fn at_once(vm: &dyn VmIrq, vectors: u32) -> anyhow::Result<Vec<OwnedFd>> {
    let mut table: Vec<RouteEntry> = EmbedderRoutes::pc_pins().entries().collect();
    table.extend((0..vectors).map(entry));
    vm.commit_routes(&table)?;
    let assigned = (0..vectors).map(|at| {
        let event = event()?;
        vm.assign_irqfd(event.as_fd(), Gsi(FIRST_GSI + at))?;
        Ok(event)
    });
    assigned.collect()
}

fn event() -> rustix::io::Result<OwnedFd> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}

fn entry(at: u32) -> RouteEntry {
    let (message, device) = (message(at), None);
    RouteEntry {
        gsi: Gsi(FIRST_GSI + at),
        target: Route::Msi(MsiRoute { message, device }),
    }
}
