//! A conformance rig on the built-in guest, which serves by itself and at once.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::Trigger;
use irqbroker_core::Vector;
use irqbroker_guest::GuestVector;
use irqbroker_guest::GuestVm;
use irqbroker_guest::RunOptions;
use irqbroker_guest::RunningGuest;
use irqbroker_kvm::VmIrq;
use irqbroker_kvm::VmIrqFd;
use irqbroker_kvm::conformance::KernelProfile;
use irqbroker_kvm::conformance::LapicRig;
use irqbroker_kvm::conformance::Rig;
use irqbroker_kvm::conformance::RigPin;
use irqbroker_kvm::conformance::Serving;
use irqbroker_kvm::conformance::VmShape;

/// How long a guest may take to serve what has reached it. Only a broken one comes near.
const PATIENCE: Duration = Duration::from_secs(10);

/// Above the pins that lead to the PIC too, which the guest has not programmed: it would interrupt
/// with the vector of an exception.
const EDGE_PIN: u8 = 21;
const LEVEL_PIN: u8 = 20;

/// Vectors that no body sends messages with.
const EDGE_VECTOR: u8 = 0x45;
const LEVEL_VECTOR: u8 = 0x54;

/// A VM of the running kernel whose guest runs.
///
/// Its destination ids have 32 bits, unlike those of [`VmShape::PC`]; no body that needs a guest
/// that serves looks at them.
#[derive(Debug)]
pub(crate) struct GuestRig {
    /// Makes the other VMs, and waits for the kernel's work items.
    kernel: LapicRig,
    vm: Arc<VmIrqFd>,
    guest: RunningGuest,
}

impl GuestRig {
    pub(crate) fn new(profile: KernelProfile) -> anyhow::Result<Self> {
        let guest = GuestVm::builder().build()?;
        for trigger in [Trigger::Edge, Trigger::Level] {
            let (pin, vector, trigger) = programmed(trigger);
            let vector = GuestVector::new(vector).ok_or_else(|| no_handler(vector))?;
            guest.route_pin(pin, vector, trigger)?;
        }
        let guest = guest.run(RunOptions::default())?;
        Ok(Self {
            kernel: LapicRig::new(profile)?,
            vm: Arc::new(VmIrqFd::new(guest.vm())),
            guest,
        })
    }
}

impl Rig for GuestRig {
    fn profile(&self) -> KernelProfile {
        self.kernel.profile()
    }

    fn vm(&self) -> Arc<dyn VmIrq> {
        Arc::<VmIrqFd>::clone(&self.vm)
    }

    fn new_vm(&self, shape: VmShape) -> Arc<dyn VmIrq> {
        self.kernel.new_vm(shape)
    }

    fn message(&self, vector: Vector) -> MsiMessage {
        // Destination 0, as there.
        self.kernel.message(vector)
    }

    fn pin(&self, trigger: Trigger) -> RigPin {
        let (pin, vector, _) = programmed(trigger);
        RigPin {
            gsi: Gsi(pin.into()),
            vector: Vector(vector),
        }
    }

    /// An event for a pin reaches the guest by a work item of the kernel; the rest is the guest's.
    fn settle(&self) {
        self.kernel.settle();
        let quiet = self.guest.quiesce(Instant::now() + PATIENCE);
        assert!(
            quiet.as_ref().is_ok_and(|probe| probe.quiet),
            "the guest does not come to rest: {quiet:?}"
        );
    }

    fn delivered(&self, vector: Vector) -> u64 {
        GuestVector::new(vector.0).map_or(0, |vector| self.guest.counters().delivered(vector))
    }

    fn serving(&self) -> Serving {
        Serving::AtOnce
    }

    /// A guest at rest has served: its handler ends with the EOI.
    fn eoi(&self, _pin: RigPin) {
        self.settle();
    }
}

/// Pin and vector of a trigger mode.
fn programmed(trigger: Trigger) -> (u8, u8, irqbroker_guest::Trigger) {
    match trigger {
        Trigger::Edge => (EDGE_PIN, EDGE_VECTOR, irqbroker_guest::Trigger::Edge),
        Trigger::Level => (LEVEL_PIN, LEVEL_VECTOR, irqbroker_guest::Trigger::Level),
    }
}

fn no_handler(vector: u8) -> anyhow::Error {
    anyhow::anyhow!("the guest has no handler for vector {vector:#04x}")
}
