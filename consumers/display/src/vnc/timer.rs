//! A timer for viewers that do nothing.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use rustix::io::Errno;
use rustix::time::Itimerspec;
use rustix::time::TimerfdClockId;
use rustix::time::TimerfdFlags;
use rustix::time::TimerfdTimerFlags;
use rustix::time::Timespec;

/// Readable when the instant it is set to has come.
#[derive(Debug)]
pub(super) struct Timer {
    fd: OwnedFd,
    set: Option<Instant>,
}

impl Timer {
    /// One that is not set.
    pub(super) fn new() -> Result<Self, Errno> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let fd = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { fd, set: None })
    }

    /// Takes back that it is readable.
    pub(super) fn clear(&mut self) {
        // There is nothing to read if it has been set anew meanwhile.
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
        self.set = None;
    }

    /// Sets it, or takes it back. Costs nothing if nothing changes.
    pub(super) fn set(&mut self, deadline: Option<Instant>) {
        if deadline == self.set {
            return;
        }
        let left = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // Zero would take it back.
            left.max(Duration::from_nanos(1))
        });
        let none = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = left.map_or(none, |left| Timespec::try_from(left).unwrap_or(none));
        let spec = Itimerspec {
            it_interval: none,
            it_value: value,
        };
        // It fails for times that are none, which these are not.
        let _ = rustix::time::timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &spec);
        self.set = deadline;
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
