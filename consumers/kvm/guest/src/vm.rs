//! The built guest, before it runs.

use std::sync::Arc;

use kvm_ioctls::VcpuFd;
use kvm_ioctls::VmFd;

use crate::Counters;
use crate::GuestVector;
use crate::GuestVmBuilder;
use crate::HaltPoll;
use crate::Irqchip;
use crate::Notifier;
use crate::PinError;
use crate::RunOptions;
use crate::RunningGuest;
use crate::StartError;
use crate::Trigger;
use crate::TscOffset;
use crate::ioapic_fd;
use crate::kick_fd::Kick;
use crate::memory_fd::GuestMemory;

/// A VM with one vCPU and the counting program in its memory.
///
/// Interrupts sent before [`run`](Self::run) are kept by the local APIC and taken at the start.
#[derive(Debug)]
pub struct GuestVm {
    pub(crate) vm: Arc<VmFd>,
    pub(crate) vcpu: VcpuFd,
    pub(crate) kick: Arc<Kick>,
    pub(crate) memory: Arc<GuestMemory>,
    pub(crate) counters: Counters,
    pub(crate) irqchip: Irqchip,
    pub(crate) halt_poll: HaltPoll,
    pub(crate) tsc_offset: TscOffset,
}

impl GuestVm {
    /// Settings with a full irqchip on `/dev/kvm`.
    #[must_use]
    pub fn builder() -> GuestVmBuilder {
        GuestVmBuilder::new()
    }

    /// The VM, for whoever owns its routes and irqfds.
    #[must_use]
    pub fn vm(&self) -> Arc<VmFd> {
        Arc::clone(&self.vm)
    }

    /// What the handlers count and stamp.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Wakes the vCPU thread for an [`InterruptSource`](crate::InterruptSource).
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        Notifier::new(Arc::clone(&self.kick))
    }

    /// The interrupt controllers in the kernel.
    #[must_use]
    pub fn irqchip(&self) -> Irqchip {
        self.irqchip
    }

    /// The halt polling in effect.
    #[must_use]
    pub fn halt_poll(&self) -> HaltPoll {
        self.halt_poll
    }

    /// How the guest's stamps relate to the host's TSC; [`Counters`] corrects for it.
    #[must_use]
    pub fn tsc_offset(&self) -> TscOffset {
        self.tsc_offset
    }

    /// Lets an IOAPIC pin raise `vector`; which GSI leads to the pin is up to the routing table, by
    /// default the one with its number.
    ///
    /// Reads and writes the whole IOAPIC, so no interrupt may be in flight on any pin meanwhile.
    ///
    /// # Errors
    ///
    /// [`PinError::NoIoapic`] without a full irqchip, [`PinError::NoSuchPin`] from 24 on,
    /// [`PinError::Ioctl`] where the kernel refused. The pin keeps what it had.
    pub fn route_pin(
        &self,
        pin: u8,
        vector: GuestVector,
        trigger: Trigger,
    ) -> Result<(), PinError> {
        match self.irqchip {
            Irqchip::Full => ioapic_fd::route_pin(&self.vm, pin, vector, trigger),
            Irqchip::Split { .. } | Irqchip::None | Irqchip::UserSpace => Err(PinError::NoIoapic),
        }
    }

    /// Starts the vCPU on a thread of its own; dropping the handle stops and joins it.
    ///
    /// # Errors
    ///
    /// [`StartError`] where no thread could be made, bound to its core or given its signal handler.
    pub fn run(self, options: RunOptions) -> Result<RunningGuest, StartError> {
        RunningGuest::start(self, options)
    }
}
