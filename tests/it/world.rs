//! A VM to run stories on: the simulator, or KVM with the built-in guest.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use irqbroker_core::MsiMessage;
use irqbroker_core::Vector;
use irqbroker_guest::GuestVector;
use irqbroker_guest::GuestVm;
use irqbroker_guest::RunOptions;
use irqbroker_guest::RunningGuest;
use irqbroker_kvm::CountingVm;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::IoctlCounts;
use irqbroker_kvm::SimHost;
use irqbroker_kvm::SimVm;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::VmIrqFd;
use irqbroker_kvm::conformance::VmShape;

/// How long a guest may take to serve what has reached it. Only a broken one comes near.
const PATIENCE: Duration = Duration::from_secs(10);

/// A VM whose delivered interrupts can be counted.
pub(crate) trait World: Debug {
    /// The VM's interrupt side.
    fn domain(&self) -> &Arc<VmDomain>;

    /// KVM ioctls issued so far.
    fn ioctls(&self) -> IoctlCounts;

    /// Waits until what has reached the VM has been counted.
    fn settle(&self) -> anyhow::Result<()>;

    /// Interrupts the VM has taken with this vector.
    fn delivered(&self, vector: Vector) -> u64;
}

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
    vm: Arc<CountingVm<Arc<SimVm>>>,
    domain: Arc<VmDomain>,
}

impl SimWorld {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let vm = Arc::new(CountingVm::new(SimHost::default().vm(VmShape::PC)));
        let domain = VmDomain::new(vm.clone(), EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
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
        self.vm.inner().pump();
        Ok(())
    }

    fn delivered(&self, vector: Vector) -> u64 {
        self.vm.inner().delivered_message(message(vector))
    }
}

/// KVM with the built-in guest.
#[derive(Debug)]
pub(crate) struct KvmWorld {
    vm: Arc<CountingVm<VmIrqFd>>,
    domain: Arc<VmDomain>,
    pub(crate) guest: RunningGuest,
}

impl KvmWorld {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let guest = GuestVm::builder().build()?.run(RunOptions::default())?;
        let vm = Arc::new(CountingVm::new(VmIrqFd::new(guest.vm())));
        let domain = VmDomain::new(vm.clone(), EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
        Ok(Self { vm, domain, guest })
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
        let probe = self.guest.quiesce(Instant::now() + PATIENCE)?;
        probe
            .quiet
            .then_some(())
            .context("the guest does not come to rest")
    }

    fn delivered(&self, vector: Vector) -> u64 {
        GuestVector::new(vector.0).map_or(0, |vector| self.guest.counters().delivered(vector))
    }
}
