//! Where notifications arrive: the processors, and the vCPUs that run or sleep on each.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use posted_irq::Notification;
use posted_irq::NotificationVectors;
use posted_irq::PiDesc;
use posted_irq::Processor;
use posted_irq::VcpuId;

/// Makes a vCPU's thread look what is pending: takes it out of the guest, or out of its sleep.
pub trait VcpuKick: Send + Sync {
    /// Whatever was posted before this call is found. From any thread; must not block, nor call
    /// back into the VM's posting.
    fn kick(&self);
}

impl<F: Fn() + Send + Sync> VcpuKick for F {
    fn kick(&self) {
        self();
    }
}

pub(super) const VECTORS: NotificationVectors = NotificationVectors::LINUX;

/// The processors that the vCPUs' threads run on, and the way to the threads.
pub(super) struct Processors {
    seats: Box<[Seat]>,
    /// By the number of the vCPU.
    kicks: Box<[Arc<dyn VcpuKick>]>,
}

struct Seat {
    processor: Arc<Processor>,
    /// Who was loaded here last; one that has left is on it until it is loaded elsewhere. A leaf
    /// lock, as the processor's own list of blocked vCPUs; never both at once.
    loaded: Mutex<Vec<(VcpuId, Arc<PiDesc>)>>,
}

impl Seat {
    fn loaded(&self) -> MutexGuard<'_, Vec<(VcpuId, Arc<PiDesc>)>> {
        // A kick that panicked leaves the list whole.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Processors {
    pub(super) fn new(count: u32, kicks: Box<[Arc<dyn VcpuKick>]>) -> Self {
        let seat = |number| Seat {
            processor: Arc::new(Processor::new(number)),
            loaded: Mutex::default(),
        };
        Self {
            seats: (0..count).map(seat).collect(),
            kicks,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn processor(&self, at: usize) -> &Arc<Processor> {
        &self.seats[at].processor
    }

    /// Before the descriptor sends notifications to `at`.
    pub(super) fn arrive(&self, at: usize, vcpu: VcpuId, desc: &Arc<PiDesc>) {
        self.seats[at].loaded().push((vcpu, Arc::clone(desc)));
    }

    /// After it has stopped to.
    pub(super) fn depart(&self, at: usize, vcpu: VcpuId) {
        self.seats[at].loaded().retain(|(other, _)| *other != vcpu);
    }

    /// Handles a notification on the processor it is for.
    ///
    /// It may come late, when the vCPU has gone elsewhere: then ON is still set, so that the vCPU
    /// looks at its descriptor before it enters and does not sleep.
    pub(super) fn notify(&self, notification: Notification) {
        let seat = usize::try_from(notification.destination)
            .ok()
            .and_then(|at| self.seats.get(at));
        let Some(seat) = seat else { return };
        if notification.vector == VECTORS.wakeup {
            seat.processor.wake(|vcpu| self.kick(vcpu));
            return;
        }
        for (vcpu, desc) in seat.loaded().iter() {
            if desc.control().on() {
                self.kick(*vcpu);
            }
        }
    }

    fn kick(&self, VcpuId(vcpu): VcpuId) {
        let kick = usize::try_from(vcpu)
            .ok()
            .and_then(|vcpu| self.kicks.get(vcpu));
        if let Some(kick) = kick {
            kick.kick();
        }
    }
}

impl fmt::Debug for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processors")
            .field("processors", &self.seats.len())
            .field("vcpus", &self.kicks.len())
            .finish()
    }
}
