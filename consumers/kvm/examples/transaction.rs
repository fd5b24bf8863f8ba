//! Three vectors brought up in one transaction, on the simulated VM.
//!
//! `cargo run -p irqbroker-kvm --features testing --example transaction`

use std::error::Error;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use irqbroker_core::MsiMessage;
use irqbroker_kvm::CountingVm;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::SimHost;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::conformance::VmShape;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

fn main() -> Result<(), Box<dyn Error>> {
    let sim = SimHost::default().vm(VmShape::PC);
    let vm = Arc::new(CountingVm::new(Arc::clone(&sim)));
    let pins = EmbedderRoutes::pc_pins();
    let domain = VmDomain::new(vm.clone(), pins, DestinationIds::Bits8)?;
    // The domain has tried the irqchip out with irqfds of its own.
    let before = vm.counts();

    let mut events: Vec<Arc<OwnedFd>> = Vec::new();
    let mut transaction = domain.transaction();
    for vector in 0x41..=0x43 {
        let event = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let gsi = transaction.arm(Arc::clone(&event), message(vector), None)?;
        println!("vector {vector:#x} on gsi {gsi}");
        events.push(event);
    }
    // An event that comes too early waits in its eventfd, and the bind delivers it.
    signal(&events[0])?;
    let irqfds = transaction.commit()?;
    for event in &events {
        signal(event)?;
    }
    sim.pump(); // A kernel does this inside the write.

    for vector in 0x41..=0x43 {
        let delivered = sim.delivered_message(message(vector));
        println!("vector {vector:#x} delivered {delivered} times");
    }
    let made = vm.counts() - before;
    println!("{} irqfds, {} table written", made.assigns, made.commits);
    assert_eq!((made.assigns, made.commits), (3, 1));

    // The kernel still has these routes: binding to them again writes no table.
    drop(irqfds);
    let mut again = domain.transaction();
    again.arm(Arc::clone(&events[0]), message(0x41), None)?;
    let _irqfds = again.commit()?;
    assert_eq!((vm.counts() - before).commits, 1);
    println!("armed again: no table written");
    Ok(())
}

fn message(vector: u32) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000,
        data: vector,
    }
}

fn signal(event: &OwnedFd) -> rustix::io::Result<usize> {
    rustix::io::write(event, &1u64.to_ne_bytes())
}
