//! A thread that drives a vblank scheduler, for embedders without a loop of their own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crate::clock::MonotonicTime;
use crate::scheduler::DriveError;
use crate::scheduler::Rouse;
use crate::scheduler::Shared;
use crate::scheduler::VblankDriver;
use crate::scheduler::VblankScheduler;
use crate::wakeup_timer::WakeupTimer;

/// A running scheduler thread. Dropping it stops and joins the thread.
#[derive(Debug)]
pub struct VblankThread {
    scheduler: Arc<Shared>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Why no scheduler thread was started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Somebody drives the scheduler already.
    #[error("cannot drive the vblank scheduler from a thread")]
    Drive(#[source] DriveError),
    /// The thread sleeps on `CLOCK_MONOTONIC` and cannot follow another clock.
    #[error("the vblank scheduler has a clock of its own and must be driven by its owner")]
    OwnClock,
    /// The host has no timer to give.
    #[error("cannot make the timer of the vblank thread")]
    Timer(#[source] io::Error),
    /// The host has no thread to give.
    #[error("cannot start the vblank thread")]
    Thread(#[source] io::Error),
}

impl VblankScheduler {
    /// Starts a thread that drives the scheduler until the handle is dropped.
    ///
    /// It sleeps on a timerfd to absolute deadlines: two system calls per wake-up, to set it and to
    /// wait, and one eventfd write per vblank; without a wanted head it sleeps for good, after one
    /// more wake-up at most. Who has something for it to do earlier than it knows of sets the timer
    /// and does not wake it up: a flip is one wake-up, that of its vblank.
    ///
    /// # Errors
    ///
    /// See [`SpawnError`].
    pub fn spawn(&self) -> Result<VblankThread, SpawnError> {
        if self.shared().has_own_clock() {
            return Err(SpawnError::OwnClock);
        }
        let timer = WakeupTimer::new().map_err(|errno| SpawnError::Timer(errno.into()))?;
        let timer = Arc::new(timer);
        let rouse = Rouse::Timer(Arc::clone(&timer));
        let driver = self.drive_by(rouse).map_err(SpawnError::Drive)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let thread = std::thread::Builder::new()
            .name("vblank".into())
            .spawn(move || drive(driver, &timer, &stop))
            .map_err(SpawnError::Thread)?;
        Ok(VblankThread {
            scheduler: Arc::clone(self.shared()),
            stopped,
            thread: Some(thread),
        })
    }
}

impl Drop for VblankThread {
    fn drop(&mut self) {
        // Relaxed: the thread looks after it has asked under the scheduler's lock, which `rouse`
        // takes. If it asked before, it finds its timer gone off, and asks again.
        self.stopped.store(true, Ordering::Relaxed);
        self.scheduler.rouse();
        if let Some(thread) = self.thread.take() {
            // Fails only if an observer panicked there, which was reported then.
            let _ = thread.join();
        }
    }
}

fn drive(mut driver: VblankDriver, timer: &WakeupTimer, stopped: &AtomicBool) {
    loop {
        // Sets the timer, and has others set it from here on.
        let _ = driver.next_wakeup();
        // Relaxed: ordered by the lock that was taken there.
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        timer.wait();
        driver.run_due(MonotonicTime::now());
    }
}

#[cfg(test)]
mod tests;
