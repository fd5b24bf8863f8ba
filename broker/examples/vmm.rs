//! A VMM's interrupt loop: the guest's accesses go to a device handle, one fd is serviced.
//!
//! The device is simulated and so are the guest's writes; the VM and its interrupts are KVM's.

use std::error::Error;
use std::sync::Arc;

use irqbroker::Wait;
use irqbroker::kvm::DestinationIds;
use irqbroker::kvm::EmbedderRoutes;
use irqbroker::kvm::VmDomain;
use irqbroker::kvm::VmIrqFd;
use irqbroker::manager::DeviceShape;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker::vfio::ProducerDevice;
use irqbroker::vfio::SimDevice;
use irqbroker::vfio::abi::IrqIndex;
use irqbroker::vfio::enable_bus_master;
use irqbroker::vfio::pci::BarOffset;
use irqbroker::vfio::pci::Capability;
use irqbroker::vfio::pci::MessageSource;
use irqbroker::vfio::pci::MsixLayout;
use irqbroker::vfio::pci::PciInterruptsLayout;
use irqbroker::vfio::pci::VectorIndex;
use kvm_ioctls::Kvm;

fn main() -> Result<(), Box<dyn Error>> {
    // What a VMM has anyway: a VM with an irqchip, and the pins it keeps in the routing table.
    let vm = Arc::new(Kvm::new()?.create_vm()?);
    vm.create_irq_chip()?;
    let _vcpu = vm.create_vcpu(0)?;
    let irqs = Arc::new(VmIrqFd::new(vm));
    let domain = VmDomain::new(irqs, EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
    let manager = Manager::new(domain, ManagerOptions::default())?;

    // A device, and where the guest finds its MSI-X.
    let sim = SimDevice::pci().msix(16).build();
    enable_bus_master(&*sim)?;
    let place = |offset| BarOffset { bar: 0, offset };
    let layout = MsixLayout {
        vectors: 16,
        table: place(0),
        pba: place(0x800),
    };
    let msix = Some(Capability { at: 0x40, layout });
    let layout = PciInterruptsLayout {
        msix,
        ..PciInterruptsLayout::default()
    };
    let source = DeviceSource::Vfio(ProducerDevice::new("nic", sim.clone(), None)?);
    let nic = manager.add_device(
        "nic",
        source,
        DeviceShape {
            layout,
            device_id: None,
        },
    )?;

    // vCPU exits: a write that is not all the interrupts' goes to the device as well.
    nic.config_write(0x42, &0x8000u16.to_le_bytes());
    let mut entry = [0; 16];
    entry[..8].copy_from_slice(&0xfee0_0000u64.to_le_bytes());
    entry[8] = 0x41;
    println!("claimed: {:?}", nic.bar_write(0, 0, &entry));
    let vector = MessageSource::Msix(VectorIndex(0));
    println!("{}", nic.explain(vector));

    // The event loop: polls `manager.poll_fd()` among its own fds, or waits here.
    manager.service(Wait::Forever)?;
    println!("{}", nic.explain(vector));
    println!("the device fires: {:?}", sim.raise(IrqIndex::MSIX, 0));

    // Migration: registers and what is pending, for serde.
    let saved = manager.save();
    manager.restore(&saved)?;
    Ok(())
}
