//! What a VM can do with interrupts, found by asking and by trying.

use std::os::fd::AsFd;

use irqbroker_core::Gsi;
use irqbroker_core::Reason;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use crate::errno::KvmErrno;
use crate::message::DestinationIds;
use crate::vm_irq::KernelCapabilities;
use crate::vm_irq::VmIrq;

/// The in-kernel interrupt controllers a VM was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IrqchipMode {
    /// None: the kernel cannot inject anything.
    None,
    /// Local APICs only (`KVM_CAP_SPLIT_IRQCHIP`): messages, but no pins and no resample.
    Split,
    /// All of them (`KVM_CREATE_IRQCHIP`, or an arm64 vgic).
    Full,
}

impl IrqchipMode {
    /// The name scripts see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Split => "split",
            Self::Full => "full",
        }
    }
}

/// What a VM can do with interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Its in-kernel interrupt controllers, found by trying to bind a scratch eventfd.
    pub irqchip: IrqchipMode,
    /// What the kernel answers.
    pub kernel: KernelCapabilities,
    /// How messages encode destinations, as the embedder said.
    pub destination_ids: DestinationIds,
}

impl Capabilities {
    /// What keeps every irqfd of this VM from working, if something does.
    #[must_use]
    pub fn irqfd_obstacle(&self) -> Option<Reason> {
        if self.irqchip == IrqchipMode::None {
            Some(Reason::NoInKernelIrqchip)
        } else if !self.kernel.irqfd {
            Some(Reason::NoIrqfd)
        } else {
            None
        }
    }

    /// What keeps every resample irqfd of this VM from working, if something does.
    #[must_use]
    pub fn resample_obstacle(&self) -> Option<Reason> {
        let full = self.irqchip == IrqchipMode::Full && self.kernel.resample;
        self.irqfd_obstacle()
            .or_else(|| (!full).then_some(Reason::NoResample))
    }
}

/// The irqchip could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No scratch eventfd.
    #[error("cannot create an eventfd to probe the irqchip with")]
    Eventfd(#[source] KvmErrno),
    /// The kernel refused for a reason other than the irqchip: a dead VM or one of another process
    /// (EIO), an arm64 vgic not initialised yet (EAGAIN).
    #[error("cannot probe the irqchip with an irqfd on gsi {gsi}")]
    Irqfd {
        /// The GSI tried.
        gsi: Gsi,
        /// The kernel's answer.
        #[source]
        source: KvmErrno,
    },
}

/// Tries a resample irqfd, then a plain one, on an eventfd that nobody signals.
pub(crate) fn probe_irqchip(
    vm: &dyn VmIrq,
    kernel: &KernelCapabilities,
) -> Result<IrqchipMode, ProbeError> {
    let new_event = || {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| ProbeError::Eventfd(errno.into()))
    };
    let (event, resample) = (new_event()?, new_event()?);
    let (event, resample) = (event.as_fd(), resample.as_fd());
    // The last GSI: on x86 never a pin, so the scratch irqfd touches no line.
    let gsi = Gsi(kernel.max_routes.saturating_sub(1));
    let refused = |source| ProbeError::Irqfd { gsi, source };
    let mode = match vm.assign_resample_irqfd(event, resample, gsi) {
        Ok(()) => IrqchipMode::Full,
        Err(KvmErrno::INVAL) => match vm.assign_irqfd(event, gsi) {
            Ok(()) => IrqchipMode::Split,
            Err(KvmErrno::INVAL) => IrqchipMode::None,
            Err(errno) => return Err(refused(errno)),
        },
        Err(errno) => return Err(refused(errno)),
    };
    if mode != IrqchipMode::None {
        vm.deassign_irqfd(event, gsi).map_err(refused)?;
    }
    Ok(mode)
}
