//! Posting's floor: the plain way into a guest without in-kernel local APICs.
//!
//! No broker: a thread reads the eventfd, marks the vector and wakes the vCPU's thread, which injects it by
//! `KVM_INTERRUPT`. No remapping entry, no descriptor, no priorities, no end of interrupt.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use anyhow::Context;
use irqbroker_guest::CoreId;
use irqbroker_guest::GuestVector;
use irqbroker_guest::GuestVm;
use irqbroker_guest::InterruptSource;
use irqbroker_guest::Irqchip;
use irqbroker_guest::Notifier;
use irqbroker_guest::RunOptions;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::pin_current_thread;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use crate::guest;

/// System calls an event costs until the vCPU's thread runs: read, wake.
pub(super) const SYSCALLS_PER_EVENT: f64 = 2.0;

/// A guest and the thread that feeds it; dropping it takes both apart.
#[derive(Debug)]
pub(super) struct Userspace {
    event: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    pub(super) guest: RunningGuest,
}

/// One vector, pending or not.
struct Pending {
    vector: GuestVector,
    is: AtomicBool,
}

impl InterruptSource for Pending {
    fn is_pending(&self) -> bool {
        // Relaxed: the notification orders it.
        self.is.load(Ordering::Relaxed)
    }

    fn take(&self) -> Option<GuestVector> {
        // Acquire: pairs with the Release of the thread that marks it.
        self.is
            .swap(false, Ordering::Acquire)
            .then_some(self.vector)
    }
}

impl Userspace {
    /// Boots a guest for which each event of a new eventfd is `vector`.
    pub(super) fn boot(
        node: &Path,
        halt_poll_ns: Option<u32>,
        vector: GuestVector,
        core: Option<CoreId>,
    ) -> anyhow::Result<Self> {
        let mut builder = GuestVm::builder().node(node).irqchip(Irqchip::None);
        if let Some(nanoseconds) = halt_poll_ns {
            builder = builder.halt_poll_ns(nanoseconds.into());
        }
        let pending = Arc::new(Pending {
            vector,
            is: AtomicBool::new(false),
        });
        let source: Arc<dyn InterruptSource> = pending.clone();
        let guest = builder.build()?.run(RunOptions {
            core: guest::last_core(),
            source: Some(source),
            ..RunOptions::default()
        })?;
        let event = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (event, stop, notifier) = (Arc::clone(&event), Arc::clone(&stop), guest.notifier());
            std::thread::Builder::new()
                .name("userspace".into())
                .spawn(move || {
                    if let Some(core) = core
                        && let Err(error) = pin_current_thread(core)
                    {
                        tracing::warn!(%error, "the plain path's core is left to the scheduler");
                    }
                    feed(&event, &stop, &pending, &notifier);
                })
                .context("cannot start the plain path's thread")?
        };
        Ok(Self {
            event,
            stop,
            thread: Some(thread),
            guest,
        })
    }

    /// The eventfd to signal.
    pub(super) fn event(&self) -> &OwnedFd {
        &self.event
    }
}

fn feed(event: &OwnedFd, stop: &AtomicBool, pending: &Pending, notifier: &Notifier) {
    let mut count = [0u8; 8];
    while rustix::io::read(event, &mut count).is_ok() {
        // Acquire: pairs with the Release of `drop`, which writes the eventfd after it.
        if stop.load(Ordering::Acquire) {
            return;
        }
        // Release: pairs with the Acquire of `take`.
        pending.is.store(true, Ordering::Release);
        notifier.notify();
    }
}

impl Drop for Userspace {
    fn drop(&mut self) {
        // Release: pairs with the Acquire of the loop.
        self.stop.store(true, Ordering::Release);
        let _ = rustix::io::write(&*self.event, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by its panic hook.
            let _ = thread.join();
        }
    }
}
