//! A ready-made thread for the relay, for those who have no loop of their own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;

use crate::poller::Wait;
use crate::registry::Registry;

/// Services a registry until dropped.
#[derive(Debug)]
pub struct RelayThread {
    registry: Registry,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RelayThread {
    /// Starts the thread; `prepare` runs on it first, to pin it or to set its priority.
    ///
    /// # Errors
    ///
    /// The thread cannot be created.
    pub fn spawn(registry: Registry, prepare: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (registry, stop) = (registry.clone(), Arc::clone(&stop));
            thread::Builder::new()
                .name("irq-relay".into())
                .spawn(move || {
                    prepare();
                    // Acquire: pairs with the Release of `drop`; the kick comes after it.
                    while !stop.load(Ordering::Acquire) {
                        if let Err(error) = registry.service(Wait::Forever) {
                            tracing::error!(%error, "relay thread ends");
                            return;
                        }
                    }
                })?
        };
        Ok(Self {
            registry,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for RelayThread {
    fn drop(&mut self) {
        // Release: pairs with the Acquire of the loop.
        self.stop.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else {
            return;
        };
        while !thread.is_finished() {
            // Another thread that services the same registry may have taken the wake-up.
            self.registry.wake();
            thread::yield_now();
        }
        // A panic of the thread has been printed by its panic hook.
        let _ = thread.join();
    }
}
