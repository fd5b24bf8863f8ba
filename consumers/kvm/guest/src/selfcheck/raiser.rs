//! The ways a check raises an interrupt.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use kvm_bindings::KVM_IRQ_ROUTING_MSI;
use kvm_bindings::KvmIrqRouting;
use kvm_bindings::kvm_irq_routing_entry;
use kvm_bindings::kvm_irq_routing_entry__bindgen_ty_1 as route_target;
use kvm_bindings::kvm_irq_routing_msi;
use kvm_ioctls::VmFd;
use rustix::io::Errno;
use vmm_sys_util::eventfd::EFD_NONBLOCK;
use vmm_sys_util::eventfd::EventFd;

use super::CheckError;
use super::error::call;
use super::error::io;
use crate::GuestVector;
use crate::GuestVm;
use crate::InterruptSource;
use crate::Notifier;

/// The first vector of a run; [`PendingSet`] has room for 64 from here.
pub(super) const FIRST_VECTOR: u8 = 0x40;
/// Above the IOAPIC's pins, so that no default route of KVM is at that GSI.
const FIRST_GSI: u32 = 24;

/// How a paced run raises its interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raise {
    /// A write to an eventfd that is an irqfd on an MSI route.
    Irqfd,
    /// `KVM_SIGNAL_MSI`.
    SignalMsi,
    /// An [`InterruptSource`] and a notification, the only way without a local APIC in the kernel.
    Source,
}

/// What raises the run's vectors, addressed by their place in the run.
pub(super) enum Raiser {
    Irqfd(Vec<EventFd>),
    Msi(Arc<VmFd>, Vec<GuestVector>),
    Source(Arc<PendingSet>, Notifier, Vec<GuestVector>),
}

impl Raiser {
    pub(super) fn new(
        raise: Raise,
        guest: &GuestVm,
        vectors: &[GuestVector],
    ) -> Result<Self, CheckError> {
        match raise {
            Raise::SignalMsi => Ok(Self::Msi(guest.vm(), vectors.to_vec())),
            Raise::Source => {
                let pending = Arc::new(PendingSet::default());
                Ok(Self::Source(pending, guest.notifier(), vectors.to_vec()))
            }
            Raise::Irqfd => {
                let routes: Vec<_> = (FIRST_GSI..).zip(vectors.iter().copied()).collect();
                let entries: Vec<_> = routes
                    .iter()
                    .map(|(gsi, vector)| msi_route(*gsi, vector.msi_data()))
                    .collect();
                set_routes(&guest.vm(), &entries)?;
                let irqfd = |(gsi, _): &(u32, GuestVector)| {
                    let eventfd = io("eventfd2", EventFd::new(EFD_NONBLOCK))?;
                    call("KVM_IRQFD", guest.vm().register_irqfd(&eventfd, *gsi))?;
                    Ok(eventfd)
                };
                Ok(Self::Irqfd(
                    routes
                        .iter()
                        .map(irqfd)
                        .collect::<Result<_, CheckError>>()?,
                ))
            }
        }
    }

    pub(super) fn source(&self) -> Option<Arc<dyn InterruptSource>> {
        match self {
            Self::Source(pending, ..) => Some(Arc::clone(pending) as Arc<dyn InterruptSource>),
            Self::Irqfd(_) | Self::Msi(..) => None,
        }
    }

    pub(super) fn raise(&self, member: usize) -> Result<(), CheckError> {
        match self {
            Self::Irqfd(eventfds) => io("write to an eventfd", eventfds[member].write(1)),
            Self::Msi(vm, vectors) => {
                call("KVM_SIGNAL_MSI", vm.signal_msi(vectors[member].kvm_msi())).map(drop)
            }
            Self::Source(pending, notifier, vectors) => {
                pending.post(vectors[member]);
                notifier.notify();
                Ok(())
            }
        }
    }
}

/// Pending vectors `0x40..=0x7f`, a bit each.
#[derive(Debug, Default)]
pub(super) struct PendingSet(AtomicU64);

impl PendingSet {
    pub(super) fn post(&self, vector: GuestVector) {
        // Release: pairs with the Acquire in `take`.
        self.0
            .fetch_or(1 << (vector.get() - FIRST_VECTOR), Ordering::Release);
    }
}

impl InterruptSource for PendingSet {
    fn is_pending(&self) -> bool {
        // Relaxed: the kick orders the post.
        self.0.load(Ordering::Relaxed) != 0
    }

    fn take(&self) -> Option<GuestVector> {
        // Relaxed: the kick orders the post, and the bit itself is claimed below.
        let highest = self.0.load(Ordering::Relaxed).checked_ilog2()?;
        // Acquire: pairs with the Release in `post`. One taker only, so the bit is still there.
        self.0.fetch_and(!(1 << highest), Ordering::Acquire);
        u8::try_from(highest)
            .ok()
            .and_then(|bit| GuestVector::new(FIRST_VECTOR + bit))
    }
}

/// A route from a GSI to an MSI at the one local APIC.
pub(super) fn msi_route(gsi: u32, data: u32) -> kvm_irq_routing_entry {
    let msi = kvm_irq_routing_msi {
        address_lo: GuestVector::FIRST.kvm_msi().address_lo,
        data,
        ..kvm_irq_routing_msi::default()
    };
    kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        u: route_target { msi },
        ..kvm_irq_routing_entry::default()
    }
}

pub(super) fn set_routes(vm: &VmFd, entries: &[kvm_irq_routing_entry]) -> Result<(), CheckError> {
    const CALL: &str = "KVM_SET_GSI_ROUTING";
    let table = KvmIrqRouting::from_entries(entries).map_err(|_| CheckError::Call {
        call: CALL,
        source: Errno::TOOBIG,
    })?;
    call(CALL, vm.set_gsi_routing(&table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_set_gives_each_posted_vector_once_highest_first() {
        let pending = PendingSet::default();
        let [low, high] = [0x41, 0x7f].map(|vector| GuestVector::new(vector).unwrap());
        pending.post(low);
        pending.post(high);
        pending.post(high);
        let taken = [pending.take(), pending.take(), pending.take()];
        assert_eq!(taken, [Some(high), Some(low), None]);
    }
}
