//! The nested guest: KVM inside the emulated machine, with handlers that count.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_guest::GuestVector;
use irqbroker_guest::GuestVm;
use irqbroker_guest::RunOptions;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::Served;
use irqbroker_guest::Trigger;
use irqbroker_guest::Wait;
use irqbroker_kvm::CountingVm;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::IoctlCounts;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::VmIrqFd;

use crate::machine::PATIENCE;

/// Between two looks at a counter: the nested vCPU needs one of the two emulated processors.
const NAP: Duration = Duration::from_micros(50);

/// The pin of a level interrupt, above those that lead to the PIC too.
pub(crate) const PIN: Gsi = Gsi(20);
/// What the guest has in that pin's redirection entry.
pub(crate) const PIN_VECTOR: u8 = 0xe0;

/// A running guest, and its interrupts for the broker.
#[derive(Debug)]
pub(crate) struct Nested {
    guest: RunningGuest,
    vm: Arc<CountingVm<VmIrqFd>>,
    domain: Arc<VmDomain>,
}

impl Nested {
    /// A guest that only counts.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Self::run(GuestVm::builder().build()?, RunOptions::default())
    }

    /// A guest whose handler of [`PIN`] has its device served before it ends the interrupt.
    pub(crate) fn serving(device: Arc<dyn Served>) -> anyhow::Result<Self> {
        let vector = handler(PIN_VECTOR)?;
        let guest = GuestVm::builder().served(vector).build()?;
        guest.route_pin(u8::try_from(PIN.0)?, vector, Trigger::Level)?;
        let options = RunOptions {
            served: Some(device),
            ..RunOptions::default()
        };
        Self::run(guest, options)
    }

    fn run(guest: GuestVm, options: RunOptions) -> anyhow::Result<Self> {
        let guest = guest.run(options)?;
        let vm = Arc::new(CountingVm::new(VmIrqFd::new(guest.vm())));
        let seam = Arc::<CountingVm<VmIrqFd>>::clone(&vm);
        let domain = VmDomain::new(seam, EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
        Ok(Self { guest, vm, domain })
    }

    /// Where consumers come from.
    pub(crate) fn domain(&self) -> &Arc<VmDomain> {
        &self.domain
    }

    /// KVM ioctls that the broker issued so far.
    pub(crate) fn ioctls(&self) -> IoctlCounts {
        self.vm.counts()
    }

    /// Runs of the vector's handler so far.
    pub(crate) fn delivered(&self, vector: u8) -> u64 {
        GuestVector::new(vector).map_or(0, |vector| self.guest.counters().delivered(vector))
    }

    /// Waits until the vector's handler has run so often, or more often.
    pub(crate) fn wait(&self, vector: u8, runs: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let way = Wait::Sleep(NAP);
        self.guest
            .wait_delivered(handler(vector)?, runs, deadline, way)
            .with_context(|| format!("vector {vector:#04x}, run {runs}"))?;
        Ok(())
    }

    /// Returns when whatever reached the guest has been handled.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        let probe = self.guest.quiesce(Instant::now() + PATIENCE)?;
        ensure!(probe.quiet, "the guest does not come to rest");
        Ok(())
    }
}

/// The message that raises a vector of the guest.
pub(crate) fn message(vector: u8) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000,
        data: u32::from(vector),
    }
}

/// A vector of the guest that has a handler.
pub(crate) fn handler(vector: u8) -> anyhow::Result<GuestVector> {
    GuestVector::new(vector).with_context(|| format!("no handler for {vector:#04x}"))
}
