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

/// Where interrupts come from under [`Irqchip::None`], such as a posted-interrupt descriptor.
///
/// Whoever adds one calls [`Notifier::notify`](crate::Notifier::notify) afterwards.
pub trait InterruptSource: Send + Sync {
    /// Takes the pending vector of highest priority; on the vCPU thread, must not block.
    ///
    /// A vector taken is injected as soon as the guest can take it, before any that comes later.
    fn take(&self) -> Option<GuestVector>;
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
    /// What to inject; only asked under [`Irqchip::None`].
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
    /// Under [`Irqchip::None`]: taken from the source, not injected yet.
    pub(crate) staged: Option<GuestVector>,
    /// Under [`Irqchip::None`]: the guest has halted and nothing was injected since.
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
            if self.irqchip == Irqchip::None {
                self.inject_next()?;
            }
            if self.shared.probed.load(Ordering::Relaxed) {
                self.answer_probes();
            }
            if self.halted {
                self.kick.leave();
                // A kick since `enter` has left a token that ends this at once.
                std::thread::park();
                continue;
            }
            let exit = vcpu_fd::enter(&mut self.vcpu);
            self.kick.leave();
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
            }
        }
    }

    /// Injects what is pending, or asks KVM to come back when the guest can take it.
    fn inject_next(&mut self) -> Result<(), RunError> {
        if self.staged.is_none() {
            self.staged = self.source.as_ref().and_then(|source| source.take());
        }
        let run = self.vcpu.get_kvm_run();
        run.request_interrupt_window = 0;
        let Some(next) = self.staged else {
            return Ok(());
        };
        self.halted = false;
        if run.ready_for_interrupt_injection == 0 {
            run.request_interrupt_window = 1;
            return Ok(());
        }
        let vector = next.get();
        vcpu_fd::inject(&self.vcpu, vector)
            .map_err(|source| RunError::Inject { vector, source })?;
        self.staged = None;
        // Holds until the next exit: one interrupt at a time.
        self.vcpu.get_kvm_run().ready_for_interrupt_injection = 0;
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
            // `inject_next` has just found the source empty.
            Irqchip::None => Ok(self.halted),
            Irqchip::Full | Irqchip::Split { .. } => vcpu::is_quiet(&self.vcpu),
        }
    }
}
