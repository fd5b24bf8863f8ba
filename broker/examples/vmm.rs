//! A VMM's interrupt loop with a guest on /dev/kvm: a device through its whole life.
//!
//! The device is simulated, and the driver's writes come from here; the interrupts are taken by
//! the built-in guest. `cargo run --example vmm`

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use irqbroker::Wait;
use irqbroker::kvm::{DestinationIds, EmbedderRoutes, VmDomain, VmIrqFd};
use irqbroker::manager::{DeviceShape, DeviceSource, Manager, ManagerOptions};
use irqbroker::vfio::abi::{Device, IrqIndex};
use irqbroker::vfio::pci::{BarOffset, Capability, MessageSource, MsixLayout};
use irqbroker::vfio::pci::{PciInterruptsLayout, VectorIndex};
use irqbroker::vfio::{ProducerDevice, SimDevice};
use irqbroker_guest::{GuestVector, GuestVm, RunOptions};

fn main() -> Result<()> {
    // What a VMM has anyway: a VM that runs, and the pins it keeps in the routing table.
    let guest = GuestVm::builder().build()?.run(RunOptions::default())?;
    let irqs = Arc::new(VmIrqFd::new(guest.vm()));
    let domain = VmDomain::new(irqs, EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
    let manager = Manager::new(domain, ManagerOptions::default())?;

    // A device, and where its driver finds MSI-X.
    let sim = SimDevice::pci().msix(16).build();
    let device: Arc<dyn Device> = sim.clone();
    irqbroker::vfio::enable_bus_master(&*device)?;
    let place = |offset| BarOffset { bar: 0, offset };
    let (vectors, table, pba) = (16, place(0), place(0x800));
    let layout = MsixLayout {
        vectors,
        table,
        pba,
    };
    let msix = Some(Capability { at: 0x40, layout });
    let layout = PciInterruptsLayout {
        msix,
        ..Default::default()
    };
    let source = DeviceSource::Vfio(ProducerDevice::new("nic", device, None)?);
    let device_id = None;
    let nic = manager.add_device("nic", source, DeviceShape { layout, device_id })?;

    // vCPU exits. A write that is not all the interrupts' would go to the device as well.
    let entry = |vector: u8, control: u8| {
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&0xfee0_0000u64.to_le_bytes());
        (entry[8], entry[12]) = (vector, control);
        let _claim = nic.bar_write(table.bar, table.offset.into(), &entry);
    };
    let control = |bits: u16| {
        let _claim = nic.config_write(0x42, &bits.to_le_bytes());
    };
    // The event loop would poll `manager.poll_fd()`; here it is asked until the guest has counted.
    let delivered =
        |vector| GuestVector::new(vector).map_or(0, |vector| guest.counters().delivered(vector));
    let serve_until = |vector, runs| -> Result<()> {
        while delivered(vector) < runs {
            manager.service(Wait::For(Duration::from_millis(1)))?;
        }
        println!("{}: {vector:#x} taken {runs}", nic.explain(VECTOR));
        Ok(())
    };
    const VECTOR: MessageSource = MessageSource::Msix(VectorIndex(0));
    let fire = || sim.raise(IrqIndex::MSIX, 0);

    entry(0x41, 0);
    control(0x8000); // enable
    fire();
    serve_until(0x41, 1)?;
    entry(0x41, 1); // mask: the event pends, and the unmask delivers it
    fire();
    ensure!(delivered(0x41) == 1, "fired through the mask");
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
    guest.quiesce(Instant::now() + Duration::from_secs(1))?;
    ensure!((delivered(0x41), delivered(0x42)) == (2, 2), "invented");
    println!("4 events, 4 interrupts: 0 lost, 0 invented");
    Ok(())
}
