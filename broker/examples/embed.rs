//! A VMM's view: one producer, one message of the guest, one registry.

use std::sync::Arc;

use irqbroker::kvm::{DestinationIds, EmbedderRoutes, VmDomain, VmIrqFd};
use irqbroker::{LocalProducer, MsiMessage, Registry, Wait};
use kvm_ioctls::Kvm;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The VM is the embedder's, as are the pins it wants to keep in the routing table.
    let vm = Arc::new(Kvm::new()?.create_vm()?);
    vm.create_irq_chip()?;
    let _vcpu = vm.create_vcpu(0)?;
    let irqs = Arc::new(VmIrqFd::new(vm));
    let domain = VmDomain::new(irqs, EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;

    // Either side may come first; the same eventfd makes them a link.
    let registry = Registry::new()?;
    let device = LocalProducer::new("device")?;
    let token = device.token().clone();
    let message = |data| MsiMessage {
        address: 0xfee0_0000,
        data,
    };
    let consumer = domain.msi("guest.msi0", message(0x40), None)?;
    let _producer = registry.register_producer(token.clone(), device.clone())?;
    let link = registry.register_consumer(token, consumer)?;

    device.signal();
    println!("{}: {}", link.delivery()?.state, link.delivery()?.reason);

    // The guest masks the vector, and unmasks it with another message.
    link.mask()?;
    link.update_route(message(0x41))?;
    link.unmask()?;

    // Whatever the kernel cannot deliver, the embedder's loop does: poll `registry.poll_fd()`.
    registry.service(Wait::No)?;
    Ok(())
}
