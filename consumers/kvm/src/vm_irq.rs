//! The seam to KVM: what one VM's interrupt ioctls offer.

use std::fmt::Debug;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use irqbroker_core::DeviceId;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;

use crate::errno::KvmErrno;
use crate::route::RouteEntry;

/// What the kernel says it can do for this VM (`KVM_CHECK_EXTENSION` on the VM).
///
/// Which in-kernel irqchip the VM was given cannot be asked for; see
/// [`Capabilities`](crate::Capabilities).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelCapabilities {
    /// `KVM_CAP_IRQ_ROUTING`: entries a routing table can have; GSIs are below this number.
    pub max_routes: u32,
    /// `KVM_CAP_IRQFD`.
    pub irqfd: bool,
    /// `KVM_CAP_IRQFD_RESAMPLE`. Set even where the VM's own irqchip cannot do it.
    pub resample: bool,
    /// `KVM_CAP_SIGNAL_MSI`.
    pub signal_msi: bool,
    /// `KVM_CAP_MSI_DEVID`: messages carry a device id.
    pub msi_devid: bool,
}

/// What became of a message sent with [`VmIrq::signal_msi`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MsiDelivery {
    /// A processor took it.
    Delivered,
    /// It met a pending one, or the guest blocks it.
    Blocked,
}

/// Level of an interrupt line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineLevel {
    /// Asserted.
    High,
    /// Deasserted.
    Low,
}

/// The interrupt ioctls of one VM.
///
/// The real one is [`VmIrqFd`](crate::VmIrqFd). Implementations keep the kernel's rules
/// (`virt/kvm/eventfd.c`, `virt/kvm/irqchip.c`), of which these shape the code above:
///
/// * a table write replaces the whole table;
/// * an irqfd on a GSI without a route is accepted, and swallows its events;
/// * a deassign with the wrong GSI succeeds and does nothing;
/// * a count that stands in the eventfd at assign is injected once and stays in the counter;
///   deassign drains the counter.
pub trait VmIrq: Debug + Send + Sync {
    /// What the kernel can do for this VM.
    fn capabilities(&self) -> KernelCapabilities;

    /// Replaces the routing table (`KVM_SET_GSI_ROUTING`).
    ///
    /// # Errors
    ///
    /// EINVAL for an entry the kernel does not take, ENOMEM; the old table stays.
    fn commit_routes(&self, table: &[RouteEntry]) -> Result<(), KvmErrno>;

    /// Binds `event` to `gsi` (`KVM_IRQFD`): each write to it raises one edge.
    ///
    /// # Errors
    ///
    /// EBUSY if an irqfd holds the eventfd, EINVAL without an in-kernel irqchip or for an fd that
    /// is no eventfd.
    fn assign_irqfd(&self, event: BorrowedFd<'_>, gsi: Gsi) -> Result<(), KvmErrno>;

    /// Binds `event` to `gsi` (`KVM_IRQFD_FLAG_RESAMPLE`): a write asserts the line, the guest's
    /// EOI lowers it and adds one to `resample`.
    ///
    /// # Errors
    ///
    /// As [`assign_irqfd`](Self::assign_irqfd), and EINVAL with a split irqchip.
    fn assign_resample_irqfd(
        &self,
        event: BorrowedFd<'_>,
        resample: BorrowedFd<'_>,
        gsi: Gsi,
    ) -> Result<(), KvmErrno>;

    /// Unbinds `event` from `gsi` (`KVM_IRQFD_FLAG_DEASSIGN`), either kind of irqfd. No interrupt
    /// comes of it after return; its counter is empty.
    ///
    /// # Errors
    ///
    /// EINVAL if `event` is no eventfd. Not if nothing matched.
    fn deassign_irqfd(&self, event: BorrowedFd<'_>, gsi: Gsi) -> Result<(), KvmErrno>;

    /// Sends a message, with no route (`KVM_SIGNAL_MSI`).
    ///
    /// # Errors
    ///
    /// EINVAL without an in-kernel irqchip, EPERM if no processor is its destination.
    fn signal_msi(
        &self,
        message: MsiMessage,
        device: Option<DeviceId>,
    ) -> Result<MsiDelivery, KvmErrno>;

    /// Sets the level of a GSI's line (`KVM_IRQ_LINE`).
    ///
    /// # Errors
    ///
    /// ENXIO without an in-kernel irqchip.
    fn set_line(&self, gsi: Gsi, level: LineLevel) -> Result<(), KvmErrno>;
}

impl<V: VmIrq + ?Sized> VmIrq for Arc<V> {
    fn capabilities(&self) -> KernelCapabilities {
        V::capabilities(self)
    }

    fn commit_routes(&self, table: &[RouteEntry]) -> Result<(), KvmErrno> {
        V::commit_routes(self, table)
    }

    fn assign_irqfd(&self, event: BorrowedFd<'_>, gsi: Gsi) -> Result<(), KvmErrno> {
        V::assign_irqfd(self, event, gsi)
    }

    fn assign_resample_irqfd(
        &self,
        event: BorrowedFd<'_>,
        resample: BorrowedFd<'_>,
        gsi: Gsi,
    ) -> Result<(), KvmErrno> {
        V::assign_resample_irqfd(self, event, resample, gsi)
    }

    fn deassign_irqfd(&self, event: BorrowedFd<'_>, gsi: Gsi) -> Result<(), KvmErrno> {
        V::deassign_irqfd(self, event, gsi)
    }

    fn signal_msi(
        &self,
        message: MsiMessage,
        device: Option<DeviceId>,
    ) -> Result<MsiDelivery, KvmErrno> {
        V::signal_msi(self, message, device)
    }

    fn set_line(&self, gsi: Gsi, level: LineLevel) -> Result<(), KvmErrno> {
        V::set_line(self, gsi, level)
    }
}
