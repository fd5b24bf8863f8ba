//! The plainest possible forwarding loop, without the broker: the relay's floor.
//!
//! epoll, read, write to the irqfd's eventfd; no lock, no lookup, no choice.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use anyhow::Context;
use irqbroker_guest::CoreId;
use irqbroker_guest::pin_current_thread;
use rustix::event::EventfdFlags;
use rustix::event::epoll;
use rustix::event::eventfd;

/// System calls an event costs: epoll_wait, read, write.
pub(super) const SYSCALLS_PER_EVENT: f64 = 3.0;

/// A thread that forwards from one eventfd to another until dropped.
#[derive(Debug)]
pub(super) struct BareRelay {
    source: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BareRelay {
    /// Forwards each event of a new eventfd to `target`.
    pub(super) fn spawn(target: OwnedFd, core: Option<CoreId>) -> anyhow::Result<Self> {
        let source = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let source = Arc::new(source);
        let stop = Arc::new(AtomicBool::new(false));
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(0);
        epoll::add(
            &set,
            &source,
            data,
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        let thread = {
            let (source, stop) = (Arc::clone(&source), Arc::clone(&stop));
            std::thread::Builder::new()
                .name("bare-relay".into())
                .spawn(move || {
                    if let Some(core) = core
                        && let Err(error) = pin_current_thread(core)
                    {
                        tracing::warn!(%error, "the bare relay's core is left to the scheduler");
                    }
                    forward(&set, &source, &target, &stop);
                })
                .context("cannot start the bare relay")?
        };
        Ok(Self {
            source,
            stop,
            thread: Some(thread),
        })
    }

    /// The eventfd to signal.
    pub(super) fn source(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.source)
    }
}

fn forward(set: &OwnedFd, source: &OwnedFd, target: &OwnedFd, stop: &AtomicBool) {
    let mut events = [std::mem::MaybeUninit::uninit(); 64];
    let mut count = [0u8; 8];
    // Acquire: pairs with the Release of `drop`, which writes the eventfd after it.
    while !stop.load(Ordering::Acquire) {
        if epoll::wait(set, &mut events, None).is_ok()
            && rustix::io::read(source, &mut count).is_ok()
        {
            // Fails only if the counter is full, which an irqfd never lets it become.
            let _ = rustix::io::write(target.as_fd(), &1u64.to_ne_bytes());
        }
    }
}

impl Drop for BareRelay {
    fn drop(&mut self) {
        // Release: pairs with the Acquire of the loop.
        self.stop.store(true, Ordering::Release);
        let _ = rustix::io::write(&*self.source, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by its panic hook.
            let _ = thread.join();
        }
    }
}
