//! Whoever drives the scheduler, and what keeps it from sleeping too long.

use std::sync::Arc;
use std::task::Waker;

use crate::clock::MonotonicTime;
use crate::wakeup_timer::WakeupTimer;

/// How a driver that sleeps learns that there is something to do earlier.
#[derive(Debug)]
pub(crate) enum Rouse {
    /// It is woken up, and asks anew.
    Waker(Waker),
    /// It is not: the timer it sleeps on is set. Set only under the scheduler's lock, so that of
    /// two threads at once the later time does not take the place of the earlier.
    Timer(Arc<WakeupTimer>),
}

/// A driver, and until when it sleeps.
#[derive(Debug)]
pub(super) struct Sleeper {
    rouse: Rouse,
    /// The time told or set last; the origin while it is awake and will ask again.
    until: MonotonicTime,
}

impl Sleeper {
    /// One that is awake.
    pub(super) fn new(rouse: Rouse) -> Self {
        Self {
            rouse,
            until: MonotonicTime::ORIGIN,
        }
    }

    /// It has woken up, and will ask.
    pub(super) fn wakes(&mut self) {
        self.until = MonotonicTime::ORIGIN;
    }

    /// It has asked, and sleeps until then; for good if there is nothing to do.
    pub(super) fn sleeps(&mut self, wakeup: Option<MonotonicTime>) {
        self.until = wakeup.unwrap_or(MonotonicTime::MAX);
        if let (Rouse::Timer(timer), Some(wakeup)) = (&self.rouse, wakeup) {
            timer.set(wakeup);
        }
    }

    /// There is something to do at `wakeup`, which is at once for the origin. Returns the waker to
    /// use, outside the lock, if it would sleep longer and is to be woken up.
    pub(super) fn has_to_wake(&mut self, wakeup: MonotonicTime) -> Option<Waker> {
        if wakeup >= self.until {
            return None;
        }
        self.until = wakeup;
        match &self.rouse {
            Rouse::Waker(waker) => Some(waker.clone()),
            Rouse::Timer(timer) => {
                timer.set(wakeup);
                None
            }
        }
    }
}
