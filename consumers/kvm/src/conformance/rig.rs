//! What a conformance body needs of the machine it runs on.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::Trigger;
use irqbroker_core::Vector;
use rustix::event::EventfdFlags;

use crate::capabilities::IrqchipMode;
use crate::message::DestinationIds;
use crate::vm_irq::VmIrq;

/// Since then one irqfd per eventfd machine-wide ("KVM: Make irqfd registration globally unique").
const GLOBAL_IRQFD: (u32, u32) = (6, 17);

/// Rules in which kernels differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelProfile {
    /// One irqfd per eventfd machine-wide (Linux 6.17, "KVM: Make irqfd registration globally
    /// unique"); before that, per VM.
    pub global_irqfd: bool,
}

impl KernelProfile {
    /// The rules of the kernel of this release, such as `6.1.0-18-amd64` or `6.17-rc1`; `None` if
    /// that is no release.
    #[must_use]
    pub fn of_release(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        let mut number = || numbers.next()?.parse::<u32>().ok();
        let version = (number()?, number()?);
        Some(Self {
            global_irqfd: version >= GLOBAL_IRQFD,
        })
    }
}

impl Default for KernelProfile {
    /// The newest kernel's rules.
    fn default() -> Self {
        Self { global_irqfd: true }
    }
}

/// What a VM is created with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmShape {
    /// Its in-kernel interrupt controllers.
    pub irqchip: IrqchipMode,
    /// Its destination ids.
    pub destination_ids: DestinationIds,
}

impl VmShape {
    /// A PC: all controllers in the kernel, 8-bit ids.
    pub const PC: Self = Self {
        irqchip: IrqchipMode::Full,
        destination_ids: DestinationIds::Bits8,
    };
}

/// When the guest of a rig serves an interrupt, so that the line's EOI reaches the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// When [`Rig::eoi`] says so.
    OnEoi,
    /// By itself, as soon as it can.
    AtOnce,
    /// Never.
    Never,
}

/// A pin that the guest has programmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RigPin {
    /// Number of the IOAPIC pin, and its GSI in the table of a PC.
    pub gsi: Gsi,
    /// What the guest has in its redirection entry.
    pub vector: Vector,
}

/// A VM to try the kernel's rules on, with a guest that counts its interrupts.
pub trait Rig {
    /// Which kernel it is.
    fn profile(&self) -> KernelProfile;

    /// The VM with the guest, of shape [`VmShape::PC`]. Its table is the body's to write.
    fn vm(&self) -> Arc<dyn VmIrq>;

    /// Another VM of the same host, without a guest that counts.
    fn new_vm(&self, shape: VmShape) -> Arc<dyn VmIrq>;

    /// A message that the guest takes with this vector, 0x40-0xef.
    fn message(&self, vector: Vector) -> MsiMessage;

    /// A pin of the VM that the guest has programmed for this trigger mode; the same one for
    /// each call.
    fn pin(&self, trigger: Trigger) -> RigPin;

    /// Returns when everything written to eventfds so far has reached the guest.
    fn settle(&self);

    /// How often the guest was interrupted with this vector. A rig may count two interrupts with
    /// no [`settle`](Self::settle) between them as one.
    fn delivered(&self, vector: Vector) -> u64;

    /// When the guest serves.
    fn serving(&self) -> Serving;

    /// Returns when the guest has served the interrupt of this pin.
    fn eoi(&self, pin: RigPin);

    /// A new eventfd, not blocking.
    fn eventfd(&self) -> OwnedFd {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        rustix::event::eventfd(0, flags).expect("a test can have one more eventfd")
    }
}
