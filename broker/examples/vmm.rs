//! A VMM's interrupt loop with a guest on /dev/kvm: a device through its whole life.
//!
//! The device is simulated, its driver is this file, the guest is real. `cargo run --example vmm`

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use irqbroker::Wait;
use irqbroker::kvm::{DestinationIds, EmbedderRoutes, VmDomain, VmIrqFd};
use irqbroker::manager::{DeviceShape, DeviceSource, Manager, ManagerOptions};
use irqbroker::vfio::abi::IrqIndex;
use irqbroker::vfio::pci::{BarOffset, Capability, MessageSource, MsixLayout, VectorIndex};
use irqbroker::vfio::{ProducerDevice, SimDevice, enable_bus_master};
use irqbroker_guest::{GuestVector, GuestVm, RunOptions};

fn main() -> Result<()> {
    // What a VMM has anyway: a VM that runs, and the pins it keeps in the routing table.
    let guest = GuestVm::builder().build()?.run(RunOptions::default())?;
    let irqs = Arc::new(VmIrqFd::new(guest.vm()));
    let domain = VmDomain::new(irqs, EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
    let manager = Manager::new(domain, ManagerOptions::default())?;

    // A device, and where its driver finds MSI-X: the capability at 0x40, the table in BAR 0.
    let sim = SimDevice::pci().msix(16).build();
    enable_bus_master(&*sim)?;
    let place = |offset| BarOffset { bar: 0, offset };
    let layout = MsixLayout {
        vectors: 16,
        table: place(0),
        pba: place(0x800),
    };
    let mut shape = DeviceShape::default();
    shape.layout.msix = Some(Capability { at: 0x40, layout });
    let source = DeviceSource::Vfio(ProducerDevice::new("nic", sim.clone(), None)?);
    let nic = manager.add_device("nic", source, shape)?;

    // vCPU exits. A write that is not all the interrupts' would go to the device as well.
    let control = |bits: u16| nic.config_write(0x42, &bits.to_le_bytes());
    let entry = |vector: u8, mask: u8| {
        // Address, data, mask bit.
        let entry = 0xfee0_0000 | u128::from(vector) << 64 | u128::from(mask) << 96;
        nic.bar_write(0, 0, &entry.to_le_bytes())
    };
    // The event loop would poll `manager.poll_fd()`; here it is asked until the guest has counted.
    let taken = |vector| GuestVector::new(vector).map_or(0, |it| guest.counters().delivered(it));
    let serve_until = |vector, runs| -> Result<()> {
        while taken(vector) < runs {
            manager.service(Wait::For(Duration::from_millis(1)))?;
        }
        let explained = nic.explain(MessageSource::Msix(VectorIndex(0)));
        println!("{explained}: {vector:#x} taken {runs}");
        Ok(())
    };
    let fire = || sim.raise(IrqIndex::MSIX, 0);

    entry(0x41, 0);
    control(0x8000); // enable
    fire();
    serve_until(0x41, 1)?;
    entry(0x41, 1); // mask: the event pends, and the unmask delivers it
    fire();
    ensure!(taken(0x41) == 1, "fired through the mask");
    entry(0x41, 0);
    serve_until(0x41, 2)?;
    entry(0x42, 0); // another vector
    fire();
    serve_until(0x42, 1)?;
    entry(0x42, 1);
    fire();
    let saved = manager.save(); // with the event that pends
    control(0); // disable
    manager.restore(&saved)?;
    entry(0x42, 0);
    serve_until(0x42, 2)?;
    guest.quiesce(Instant::now() + Duration::from_secs(60))?;
    ensure!((taken(0x41), taken(0x42)) == (2, 2), "invented");
    println!("4 events, 4 interrupts: 0 lost, 0 invented");
    Ok(())
}
