//! A VM with a manager, and a guest's driver that brings its devices up.

use std::sync::Arc;

use irqbroker::manager::DeviceHandle;
use irqbroker::manager::DeviceShape;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker_core::MsiMessage;
use irqbroker_core::Wait;
use irqbroker_kvm::CountingVm;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::VmIrqFd;
use irqbroker_vfio::ProducerDevice;
use irqbroker_vfio::pci::BarOffset;
use irqbroker_vfio::pci::Capability;
use irqbroker_vfio::pci::MsixLayout;
use irqbroker_vfio::pci::PciInterruptsLayout;
use kvm_ioctls::Kvm;

use crate::device::Obedient;

/// A VM, and its devices once they are added.
pub(crate) struct Vm {
    pub(crate) seam: Arc<CountingVm<VmIrqFd>>,
    pub(crate) manager: Manager,
    pub(crate) devices: Vec<DeviceHandle>,
}

impl Vm {
    pub(crate) fn new(kvm: &Kvm, devices: usize, vectors: u16) -> anyhow::Result<Self> {
        let vm = kvm.create_vm()?;
        vm.create_irq_chip()?;
        let seam = Arc::new(CountingVm::new(VmIrqFd::new(Arc::new(vm))));
        let pins = EmbedderRoutes::pc_pins();
        let domain = VmDomain::new(seam.clone(), pins, DestinationIds::Bits8)?;
        let manager = Manager::new(domain, ManagerOptions::default())?;
        let devices = (0..devices).map(|at| {
            let name = format!("device{at}");
            let device = Arc::new(Obedient { vectors });
            let source = DeviceSource::Vfio(ProducerDevice::new(name.clone(), device, None)?);
            Ok(manager.add_device(name, source, shape(vectors))?)
        });
        let devices = devices.collect::<anyhow::Result<_>>()?;
        Ok(Self {
            seam,
            manager,
            devices,
        })
    }

    pub(crate) fn service(&self) -> anyhow::Result<()> {
        while self.manager.service(Wait::No)?.events > 0 {}
        Ok(())
    }
}

fn shape(vectors: u16) -> DeviceShape {
    let place = |bar| BarOffset { bar, offset: 0 };
    let layout = MsixLayout {
        vectors,
        table: place(0),
        pba: place(1),
    };
    DeviceShape {
        layout: PciInterruptsLayout {
            msix: Some(Capability { at: 0x40, layout }),
            ..PciInterruptsLayout::default()
        },
        device_id: None,
    }
}

/// All messages are distinct: 128 vectors for each destination.
pub(crate) fn message(at: u32) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000 | u64::from(at / 128) << 12,
        data: 0x40 + at % 128,
    }
}

/// What a driver does: all vectors under the function mask, which is then cleared.
pub(crate) fn enable(device: &DeviceHandle, vectors: u16, first: u32) {
    device.config_write(0x42, &0xc000u16.to_le_bytes());
    for vector in 0..vectors {
        let message = message(first + u32::from(vector));
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&message.address.to_le_bytes());
        entry[8..12].copy_from_slice(&message.data.to_le_bytes());
        device.bar_write(0, u64::from(vector) * 16, &entry);
    }
    device.config_write(0x42, &0x8000u16.to_le_bytes());
}
