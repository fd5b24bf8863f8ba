//! A VM to run stories on: the simulator, or KVM with the built-in guest.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::Trigger;
use irqbroker_core::Vector;
use irqbroker_guest::CoreId;
use irqbroker_guest::GuestVector;
use irqbroker_guest::GuestVm;
use irqbroker_guest::Irqchip;
use irqbroker_guest::RunOptions;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::pin_current_thread;
use irqbroker_kvm::CountingVm;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::IoctlCounts;
use irqbroker_kvm::IrqchipMode;
use irqbroker_kvm::SimHost;
use irqbroker_kvm::SimVm;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::VmIrq;
use irqbroker_kvm::VmIrqFd;
use irqbroker_kvm::conformance::KernelProfile;
use irqbroker_kvm::conformance::LapicRig;
use irqbroker_kvm::conformance::Rig;
use irqbroker_kvm::conformance::VmShape;

use crate::need::Need;
use crate::need::story;

/// How long a guest may take to serve what has reached it. Only a broken one comes near.
const PATIENCE: Duration = Duration::from_secs(60);

/// GSIs kept for the pins of a user-space IOAPIC, as many as a PC's has.
const SPLIT_PINS: u8 = 24;

/// A VM whose delivered interrupts can be counted.
pub(crate) trait World: Debug + Sync {
    /// The VM's interrupt side.
    fn domain(&self) -> &Arc<VmDomain>;

    /// KVM ioctls issued so far.
    fn ioctls(&self) -> IoctlCounts;

    /// Waits until what has reached the VM has been counted.
    fn settle(&self) -> anyhow::Result<()>;

    /// The irqfds take what has just been written. Nothing to do for a kernel, whose irqfds run inside
    /// the write; for the simulator an event stays in its counter until then, where whoever reads the
    /// counter on another thread would have it.
    fn pump(&self) {}

    /// Interrupts the VM has taken with this vector.
    fn delivered(&self, vector: Vector) -> u64;

    /// The guest serves the interrupt of a pin; a guest that runs has done so by itself.
    fn serve(&self, gsi: Gsi);

    /// The seam, for what a story does behind the broker's back.
    fn vm(&self) -> &dyn VmIrq;
}

/// A pin the guest has programmed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pin {
    pub(crate) gsi: Gsi,
    pub(crate) vector: Vector,
    pub(crate) trigger: Trigger,
}

/// Pins without devices of their own on a PC.
pub(crate) const LEVEL_PIN: Pin = Pin {
    gsi: Gsi(20),
    vector: Vector(0xe0),
    trigger: Trigger::Level,
};
pub(crate) const EDGE_PIN: Pin = Pin {
    gsi: Gsi(21),
    vector: Vector(0xe1),
    trigger: Trigger::Edge,
};

/// The message that raises `vector` in either world.
pub(crate) fn message(vector: Vector) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000,
        data: u32::from(vector.0),
    }
}

/// The simulator.
#[derive(Debug)]
pub(crate) struct SimWorld {
    pub(crate) vm: Arc<CountingVm<Arc<SimVm>>>,
    domain: Arc<VmDomain>,
}

impl SimWorld {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Self::on(&SimHost::default())
    }

    pub(crate) fn on(host: &SimHost) -> anyhow::Result<Self> {
        let vm = Arc::new(CountingVm::new(host.vm(VmShape::PC)));
        for pin in [LEVEL_PIN, EDGE_PIN] {
            vm.inner().program_pin(pin.gsi.0, pin.vector, pin.trigger);
        }
        let domain = VmDomain::new(vm.clone(), EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
        Ok(Self { vm, domain })
    }

    /// With local APICs in the kernel only, and wide ids.
    pub(crate) fn split() -> anyhow::Result<Self> {
        let shape = VmShape {
            irqchip: IrqchipMode::Split,
            destination_ids: DestinationIds::Bits32,
        };
        let vm = Arc::new(CountingVm::new(SimHost::default().vm(shape)));
        let pins = EmbedderRoutes::reserved(SPLIT_PINS.into());
        let domain = VmDomain::new(vm.clone(), pins, DestinationIds::Bits32)?;
        Ok(Self { vm, domain })
    }
}

impl World for SimWorld {
    fn domain(&self) -> &Arc<VmDomain> {
        &self.domain
    }

    fn ioctls(&self) -> IoctlCounts {
        self.vm.counts()
    }

    fn settle(&self) -> anyhow::Result<()> {
        self.pump();
        Ok(())
    }

    fn pump(&self) {
        self.vm.inner().pump();
    }

    fn delivered(&self, vector: Vector) -> u64 {
        self.vm.inner().delivered(vector)
    }

    fn serve(&self, gsi: Gsi) {
        self.vm.inner().eoi(gsi);
    }

    fn vm(&self) -> &dyn VmIrq {
        &*self.vm
    }
}

/// KVM with the built-in guest.
#[derive(Debug)]
pub(crate) struct KvmWorld {
    vm: Arc<CountingVm<VmIrqFd>>,
    domain: Arc<VmDomain>,
    pub(crate) guest: RunningGuest,
    /// Waits for the kernel's work items: an event for a pin reaches its VM by one.
    work: LapicRig,
}

impl KvmWorld {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let guest = GuestVm::builder().build()?;
        for pin in [LEVEL_PIN, EDGE_PIN] {
            let vector = GuestVector::new(pin.vector.0).context("no handler")?;
            let trigger = match pin.trigger {
                Trigger::Edge => irqbroker_guest::Trigger::Edge,
                Trigger::Level => irqbroker_guest::Trigger::Level,
            };
            guest.route_pin(u8::try_from(pin.gsi.0)?, vector, trigger)?;
        }
        let guest = guest.run(RunOptions::default())?;
        let vm = Arc::new(CountingVm::new(VmIrqFd::new(guest.vm())));
        let domain = VmDomain::new(vm.clone(), EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
        Ok(Self {
            vm,
            domain,
            guest,
            work: LapicRig::new(KernelProfile::default())?,
        })
    }

    /// With local APICs in the kernel only, and wide ids.
    pub(crate) fn split() -> anyhow::Result<Self> {
        let reserved_pins = SPLIT_PINS;
        let guest = GuestVm::builder()
            .irqchip(Irqchip::Split { reserved_pins })
            .build()?
            .run(RunOptions::default())?;
        let vm = Arc::new(CountingVm::new(VmIrqFd::new(guest.vm())));
        let pins = EmbedderRoutes::reserved(reserved_pins.into());
        let domain = VmDomain::new(vm.clone(), pins, DestinationIds::Bits32)?;
        Ok(Self {
            vm,
            domain,
            guest,
            work: LapicRig::new(KernelProfile::default())?,
        })
    }
}

impl World for KvmWorld {
    fn domain(&self) -> &Arc<VmDomain> {
        &self.domain
    }

    fn ioctls(&self) -> IoctlCounts {
        self.vm.counts()
    }

    fn settle(&self) -> anyhow::Result<()> {
        // Each processor has a queue of its own, and a work item runs where its event came from.
        std::thread::scope(|scope| {
            for core in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(move || {
                    // A processor that this process may not use has no event of its.
                    if pin_current_thread(CoreId(core)).is_ok() {
                        self.work.settle();
                    }
                });
            }
        });
        let probe = self.guest.quiesce(Instant::now() + PATIENCE)?;
        probe
            .quiet
            .then_some(())
            .context("the guest does not come to rest")
    }

    fn delivered(&self, vector: Vector) -> u64 {
        GuestVector::new(vector.0).map_or(0, |vector| self.guest.counters().delivered(vector))
    }

    fn serve(&self, _gsi: Gsi) {}

    fn vm(&self) -> &dyn VmIrq {
        &*self.vm
    }
}

/// A story that runs on the simulator and, where there is one, on KVM.
pub(crate) fn on_both(
    name: &str,
    body: fn(&dyn World) -> anyhow::Result<()>,
) -> [libtest_mimic::Trial; 2] {
    [
        story(name, Need::Nothing, move || body(&SimWorld::new()?)),
        story(format!("{name}_on_kvm"), Need::Kvm, move || {
            body(&KvmWorld::new()?)
        }),
    ]
}
