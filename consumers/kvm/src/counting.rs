//! A seam that counts the ioctls that pass through it.

use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use irqbroker_core::DeviceId;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;

use crate::errno::KvmErrno;
use crate::route::RouteEntry;
use crate::vm_irq::KernelCapabilities;
use crate::vm_irq::LineLevel;
use crate::vm_irq::MsiDelivery;
use crate::vm_irq::VmIrq;

/// Wraps a [`VmIrq`] and counts each kind of call, refused ones included.
#[derive(Debug)]
pub struct CountingVm<V> {
    vm: V,
    commits: AtomicU64,
    assigns: AtomicU64,
    resample_assigns: AtomicU64,
    deassigns: AtomicU64,
    messages: AtomicU64,
    lines: AtomicU64,
}

/// Calls counted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoctlCounts {
    /// `KVM_SET_GSI_ROUTING`.
    pub commits: u64,
    /// `KVM_IRQFD`, plain assign.
    pub assigns: u64,
    /// `KVM_IRQFD`, assign with resample.
    pub resample_assigns: u64,
    /// `KVM_IRQFD`, deassign.
    pub deassigns: u64,
    /// `KVM_SIGNAL_MSI`.
    pub messages: u64,
    /// `KVM_IRQ_LINE`.
    pub lines: u64,
}

impl std::ops::Sub for IoctlCounts {
    type Output = Self;

    /// The calls since an earlier count.
    fn sub(self, earlier: Self) -> Self {
        Self {
            commits: self.commits - earlier.commits,
            assigns: self.assigns - earlier.assigns,
            resample_assigns: self.resample_assigns - earlier.resample_assigns,
            deassigns: self.deassigns - earlier.deassigns,
            messages: self.messages - earlier.messages,
            lines: self.lines - earlier.lines,
        }
    }
}

impl<V> CountingVm<V> {
    /// Starts at zero.
    pub fn new(vm: V) -> Self {
        Self {
            vm,
            commits: AtomicU64::new(0),
            assigns: AtomicU64::new(0),
            resample_assigns: AtomicU64::new(0),
            deassigns: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            lines: AtomicU64::new(0),
        }
    }

    /// What was counted so far.
    pub fn counts(&self) -> IoctlCounts {
        // Relaxed: statistics. Whoever compares them has its own order with the calls counted.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IoctlCounts {
            commits: read(&self.commits),
            assigns: read(&self.assigns),
            resample_assigns: read(&self.resample_assigns),
            deassigns: read(&self.deassigns),
            messages: read(&self.messages),
            lines: read(&self.lines),
        }
    }

    /// What the calls pass through to.
    pub fn inner(&self) -> &V {
        &self.vm
    }
}

fn count(counter: &AtomicU64) {
    // Relaxed: statistics, see `counts`.
    counter.fetch_add(1, Ordering::Relaxed);
}

impl<V: VmIrq> VmIrq for CountingVm<V> {
    fn capabilities(&self) -> KernelCapabilities {
        self.vm.capabilities()
    }

    fn commit_routes(&self, table: &[RouteEntry]) -> Result<(), KvmErrno> {
        count(&self.commits);
        self.vm.commit_routes(table)
    }

    fn assign_irqfd(&self, event: BorrowedFd<'_>, gsi: Gsi) -> Result<(), KvmErrno> {
        count(&self.assigns);
        self.vm.assign_irqfd(event, gsi)
    }

    fn assign_resample_irqfd(
        &self,
        event: BorrowedFd<'_>,
        resample: BorrowedFd<'_>,
        gsi: Gsi,
    ) -> Result<(), KvmErrno> {
        count(&self.resample_assigns);
        self.vm.assign_resample_irqfd(event, resample, gsi)
    }

    fn deassign_irqfd(&self, event: BorrowedFd<'_>, gsi: Gsi) -> Result<(), KvmErrno> {
        count(&self.deassigns);
        self.vm.deassign_irqfd(event, gsi)
    }

    fn signal_msi(
        &self,
        message: MsiMessage,
        device: Option<DeviceId>,
    ) -> Result<MsiDelivery, KvmErrno> {
        count(&self.messages);
        self.vm.signal_msi(message, device)
    }

    fn set_line(&self, gsi: Gsi, level: LineLevel) -> Result<(), KvmErrno> {
        count(&self.lines);
        self.vm.set_line(gsi, level)
    }
}
