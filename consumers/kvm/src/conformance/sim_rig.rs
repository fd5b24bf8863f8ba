//! The simulator as a rig.

use std::sync::Arc;

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::Trigger;
use irqbroker_core::Vector;

use super::rig::KernelProfile;
use super::rig::Rig;
use super::rig::RigPin;
use super::rig::Serving;
use super::rig::VmShape;
use crate::sim::SimHost;
use crate::sim::SimVm;
use crate::vm_irq::VmIrq;

/// A simulated host with one VM, and those a body adds.
#[derive(Debug)]
pub struct SimRig {
    profile: KernelProfile,
    host: SimHost,
    vm: Arc<SimVm>,
}

impl SimRig {
    /// A host whose kernel follows `profile`.
    #[must_use]
    pub fn new(profile: KernelProfile) -> Self {
        let host = SimHost::new(profile);
        Self {
            profile,
            vm: host.vm(VmShape::PC),
            host,
        }
    }
}

impl Rig for SimRig {
    fn profile(&self) -> KernelProfile {
        self.profile
    }

    fn vm(&self) -> Arc<dyn VmIrq> {
        Arc::<SimVm>::clone(&self.vm)
    }

    fn new_vm(&self, shape: VmShape) -> Arc<dyn VmIrq> {
        self.host.vm(shape)
    }

    fn message(&self, vector: Vector) -> MsiMessage {
        MsiMessage {
            address: 0xfee0_0000,
            data: u32::from(vector.0),
        }
    }

    fn pin(&self, trigger: Trigger) -> RigPin {
        // One ISA and one PCI pin, with the vectors they have at the start.
        let (gsi, vector) = match trigger {
            Trigger::Edge => (5, 0x35),
            Trigger::Level => (20, 0x44),
        };
        RigPin {
            gsi: Gsi(gsi),
            vector: Vector(vector),
        }
    }

    fn settle(&self) {
        self.vm.pump();
    }

    fn delivered(&self, vector: Vector) -> u64 {
        self.vm.delivered(vector)
    }

    fn serving(&self) -> Serving {
        Serving::OnEoi
    }

    fn eoi(&self, pin: RigPin) {
        self.vm.eoi(pin.gsi);
    }
}
