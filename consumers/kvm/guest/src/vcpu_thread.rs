//! The vCPU thread: enters the guest until it is told to stop.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

use kvm_ioctls::VcpuFd;
use rustix::io::Errno;

use crate::CoreId;
use crate::GuestVector;
use crate::Irqchip;
use crate::RunError;
use crate::kick_fd::Kick;
use crate::tsc_now;
use crate::vcpu;
use crate::vcpu_fd;
use crate::vcpu_fd::Exit;

/// Where interrupts come from without a local APIC in the kernel, such as a posted-interrupt
/// descriptor; it stands for the local APIC.
///
/// Whoever adds one calls [`Notifier::notify`](crate::Notifier::notify) afterwards. All calls come
/// from the vCPU thread, in this order, and must not block.
///
/// ```text
///   ┌─► enter ─► is_pending, take ─► guest runs ─► leave ─► eoi, if that is why ─┐
///   │     └──► guest has halted, nothing is pending ─► block ─► thread sleeps    │
///   └──────────────────────────────────────────────────────────┴─────────────────┘
/// ```
pub trait InterruptSource: Send + Sync {
    /// The thread is about to look what is pending, and then to enter the guest or to sleep.
    ///
    /// Whatever is added from here on has to be followed by a notification.
    fn enter(&self) {}

    /// Whether there is a vector that the guest is to be interrupted with.
    fn is_pending(&self) -> bool;

    /// Takes the pending vector of highest priority; called when the guest can take it, at once.
    fn take(&self) -> Option<GuestVector>;

    /// The thread has left the guest, and looks again before it enters again: for what is added
    /// from here on no notification is needed.
    fn leave(&self) {}

    /// The guest has halted with nothing pending. The next call is [`enter`](Self::enter).
    fn block(&self) -> Sleep {
        Sleep::Allowed
    }

    /// The guest has ended the interrupt it was in last ([`Irqchip::UserSpace`]).
    fn eoi(&self) {}
}

/// Whether the thread of a halted vCPU may sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sleep {
    /// Until the next notification.
    Allowed,
    /// Not before it has looked again: something came meanwhile.
    Denied,
}

/// Hears of ended level interrupts under [`Irqchip::Split`] with reserved pins.
pub trait IoapicEoi: Send + Sync {
    /// The guest ended `vector`, which a level route of a reserved pin raised (`KVM_EXIT_IOAPIC_EOI`).
    ///
    /// On the vCPU thread, must not block.
    fn ended(&self, vector: u8);
}

/// The devices behind the vectors given to [`GuestVmBuilder::served`](crate::GuestVmBuilder::served).
pub trait Served: Send + Sync {
    /// The handler of `vector` has stamped and counted; it ends the interrupt once this returns.
    ///
    /// On the vCPU thread. May block, which the guest's stop, probe and quiesce then wait for.
    fn serve(&self, vector: GuestVector);
}

/// How a guest runs; the default is: on any core, without hooks.
#[derive(Clone, Default)]
pub struct RunOptions {
    /// The core the vCPU thread is bound to.
    pub core: Option<CoreId>,
    /// What to inject; only asked under [`Irqchip::None`] and [`Irqchip::UserSpace`].
    pub source: Option<Arc<dyn InterruptSource>>,
    /// Who hears of ended level interrupts; only called under [`Irqchip::Split`].
    pub ioapic_eoi: Option<Arc<dyn IoapicEoi>>,
    /// Who serves the devices of served vectors.
    pub served: Option<Arc<dyn Served>>,
}

impl fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunOptions")
            .field("core", &self.core)
            .field("source", &self.source.is_some())
            .field("ioapic_eoi", &self.ioapic_eoi.is_some())
            .field("served", &self.served.is_some())
            .finish()
    }
}

/// A moment at which the vCPU thread looked, as its answer to a probe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) tsc: u64,
    pub(crate) quiet: bool,
}

type Answer = SyncSender<Result<Look, Errno>>;

/// What the handle and the thread share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    stop: AtomicBool,
    probed: AtomicBool,
    /// Who waits for an answer; `None` once the thread has ended. Innermost, held for a push or a take.
    waiting: Mutex<Option<Vec<Answer>>>,
    /// Set once, when the thread ends; inside `None` if it was told to.
    end: OnceLock<Option<RunError>>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::new(Some(Vec::new())),
            ..Self::default()
        }
    }

    /// Why the thread ended by itself, if it did.
    pub(crate) fn failure(&self) -> Option<RunError> {
        self.end.get().copied().flatten()
    }

    /// Asks the thread to end; a kick follows.
    pub(crate) fn stop(&self) {
        // Relaxed: the kick's fence orders it.
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Leaves a probe, whose sender is dropped if the thread ends before; a kick follows.
    pub(crate) fn probe(&self, answer: Answer) {
        if let Some(waiting) = self.lock_waiting().as_mut() {
            waiting.push(answer);
        }
        // Relaxed: the kick's fence orders it, and the lock orders the list.
        self.probed.store(true, Ordering::Relaxed);
    }

    fn lock_waiting(&self) -> MutexGuard<'_, Option<Vec<Answer>>> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records how the thread ended, also by a panic of a hook, so that no waiter hangs.
struct End<'a> {
    shared: &'a Shared,
    kick: &'a Kick,
    reason: Option<RunError>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.kick.detach_thread();
        let _first = self.shared.end.set(self.reason);
        // After `end` is set: whoever finds its sender dropped reads why.
        *self.shared.lock_waiting() = None;
    }
}

/// Everything the thread owns.
pub(crate) struct VcpuThread {
    pub(crate) vcpu: VcpuFd,
    pub(crate) kick: Arc<Kick>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) irqchip: Irqchip,
    pub(crate) source: Option<Arc<dyn InterruptSource>>,
    pub(crate) ioapic_eoi: Option<Arc<dyn IoapicEoi>>,
    pub(crate) served: Option<Arc<dyn Served>>,
    /// Without a local APIC in the kernel: the guest has halted and nothing was injected since.
    pub(crate) halted: bool,
}

impl VcpuThread {
    /// Runs the guest until it is stopped or fails.
    pub(crate) fn run(mut self) {
        let kick = Arc::clone(&self.kick);
        let shared = Arc::clone(&self.shared);
        let mut end = End {
            shared: &shared,
            kick: &kick,
            reason: Some(RunError::Panicked),
        };
        end.reason = self.enter_until_told().err();
        if let Some(error) = end.reason {
            tracing::warn!(%error, "vcpu thread ended");
        }
    }

    fn enter_until_told(&mut self) -> Result<(), RunError> {
        loop {
            self.kick.enter();
            // Relaxed here and below: `enter` has the fence that pairs with the kicker's.
            if self.shared.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if let Some(source) = self.user_space_source() {
                source.enter();
                self.inject_next(&*source)?;
            }
            if self.shared.probed.load(Ordering::Relaxed) {
                self.answer_probes();
            }
            if self.halted {
                self.kick.leave();
                let source = self.user_space_source();
                if source.is_some_and(|source| source.block() == Sleep::Denied) {
                    continue;
                }
                // A kick since `enter` has left a token that ends this at once.
                std::thread::park();
                continue;
            }
            let exit = vcpu_fd::enter(&mut self.vcpu);
            self.kick.leave();
            let source = self.user_space_source();
            if let Some(source) = &source {
                source.leave();
            }
            match exit? {
                Exit::Again => {}
                Exit::Halted => self.halted = true,
                Exit::IoapicEoi(vector) => {
                    if let Some(listener) = &self.ioapic_eoi {
                        listener.ended(vector);
                    }
                }
                Exit::Serve(vector) => {
                    if let Some(devices) = &self.served {
                        devices.serve(vector);
                    }
                }
                Exit::Eoi => {
                    if let Some(source) = source {
                        source.eoi();
                    }
                }
            }
        }
    }

    /// The source, where nobody else gives the guest its interrupts.
    fn user_space_source(&self) -> Option<Arc<dyn InterruptSource>> {
        match self.irqchip {
            Irqchip::None | Irqchip::UserSpace => self.source.clone(),
            Irqchip::Full | Irqchip::Split { .. } => None,
        }
    }

    /// Injects the first that is pending if the guest can take it, and has KVM come back when it can
    /// take the next.
    fn inject_next(&mut self, source: &dyn InterruptSource) -> Result<(), RunError> {
        self.vcpu.get_kvm_run().request_interrupt_window = 0;
        if !source.is_pending() {
            return Ok(());
        }
        self.halted = false;
        if self.vcpu.get_kvm_run().ready_for_interrupt_injection != 0
            && let Some(next) = source.take()
        {
            let vector = next.get();
            vcpu_fd::inject(&self.vcpu, vector)
                .map_err(|source| RunError::Inject { vector, source })?;
            // Holds until the next exit: one interrupt at a time.
            self.vcpu.get_kvm_run().ready_for_interrupt_injection = 0;
        }
        self.vcpu.get_kvm_run().request_interrupt_window = u8::from(source.is_pending());
        Ok(())
    }

    fn answer_probes(&self) {
        // Relaxed: before the list is taken, so that a probe left later sets it again.
        self.shared.probed.store(false, Ordering::Relaxed);
        let waiting = self.shared.lock_waiting().as_mut().map(std::mem::take);
        let waiting = waiting.unwrap_or_default();
        if waiting.is_empty() {
            return;
        }
        let tsc = tsc_now();
        let look = self.is_quiet().map(|quiet| Look { tsc, quiet });
        for answer in waiting {
            // One place each, never used before: neither blocks nor fails unless the asker has left.
            let _left = answer.try_send(look);
        }
    }

    fn is_quiet(&self) -> Result<bool, Errno> {
        match self.irqchip {
            // `inject_next` has just found nothing pending.
            Irqchip::None | Irqchip::UserSpace => Ok(self.halted),
            Irqchip::Full | Irqchip::Split { .. } => vcpu::is_quiet(&self.vcpu),
        }
    }
}
