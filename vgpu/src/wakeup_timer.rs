//! A timer that one thread sleeps on and others set, without waking it up for that.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::time::Itimerspec;
use rustix::time::TimerfdClockId;
use rustix::time::TimerfdFlags;
use rustix::time::TimerfdTimerFlags;
use rustix::time::Timespec;

use crate::clock::MonotonicTime;

/// A blocking timerfd on `CLOCK_MONOTONIC`.
///
/// It goes off at the time it was set to last and at no other; timer slack does not apply
/// (`fs/timerfd.c`: an hrtimer without a range).
#[derive(Debug)]
pub(crate) struct WakeupTimer {
    fd: OwnedFd,
}

impl WakeupTimer {
    /// One that is not set.
    pub(crate) fn new() -> Result<Self, Errno> {
        let fd = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        Ok(Self { fd })
    }

    /// Has it go off at `time`, in place of what it was set to; at once if that is over. One system
    /// call, which does not block.
    pub(crate) fn set(&self, time: MonotonicTime) {
        let once = Itimerspec {
            it_interval: timespec(MonotonicTime::ORIGIN),
            // All zero would stop the timer.
            it_value: timespec(time.max(MonotonicTime::from_nanos(1))),
        };
        // Refused are other files and times that are none, which these are not.
        let _ = rustix::time::timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once);
    }

    /// Sleeps until it has gone off, for good if nobody sets it; or until a signal.
    pub(crate) fn wait(&self) {
        // Either way to return means the same: look what is due.
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
    }
}

fn timespec(time: MonotonicTime) -> Timespec {
    const NANOS_PER_SEC: u64 = 1_000_000_000;
    let part = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Timespec {
        tv_sec: part(time.as_nanos() / NANOS_PER_SEC),
        tv_nsec: part(time.as_nanos() % NANOS_PER_SEC),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn left(timer: &WakeupTimer) -> Duration {
        let left = rustix::time::timerfd_gettime(&timer.fd).unwrap().it_value;
        left.try_into().unwrap()
    }

    #[test]
    fn timer_set_to_a_time_that_is_over_or_to_the_origin_goes_off_at_once() {
        let timer = WakeupTimer::new().unwrap();
        for time in [MonotonicTime::ORIGIN, MonotonicTime::now()] {
            timer.set(time);
            timer.wait();
        }
        assert_eq!(left(&timer), Duration::ZERO);
    }

    #[test]
    fn timer_set_again_goes_off_at_the_time_it_was_set_to_last() {
        let timer = WakeupTimer::new().unwrap();
        timer.set(MonotonicTime::MAX);
        // Centuries, as far as the kernel counts.
        assert!(left(&timer) > Duration::from_secs(1 << 32));
        let soon = MonotonicTime::from_nanos(MonotonicTime::now().as_nanos() + 1_000_000);
        timer.set(soon);
        timer.wait();
        assert!(MonotonicTime::now() >= soon);
    }
}
