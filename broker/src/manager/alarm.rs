//! One fd to poll for the registry's work and for what is due at a time.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use irqbroker_core::Registry;
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::time::Itimerspec;
use rustix::time::TimerfdClockId;
use rustix::time::TimerfdFlags;
use rustix::time::TimerfdTimerFlags;

/// A timer that is set only while something is due.
#[derive(Debug)]
pub(super) struct Alarm {
    epoll: OwnedFd,
    timer: OwnedFd,
    due: Mutex<Option<Instant>>,
}

impl Alarm {
    pub(super) fn new(registry: &Registry) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        for fd in [registry.poll_fd(), timer.as_fd()] {
            epoll::add(
                &epoll,
                fd,
                epoll::EventData::new_u64(0),
                epoll::EventFlags::IN,
            )?;
        }
        Ok(Self {
            epoll,
            timer,
            due: Mutex::default(),
        })
    }

    /// Readable when there is work.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Something is due at `when`; whether that is earlier than all else.
    pub(super) fn arm(&self, when: Instant) -> bool {
        let mut due = self.due();
        if due.is_some_and(|due| due <= when) {
            return false;
        }
        *due = Some(when);
        self.set(when);
        true
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        *self.due()
    }

    /// Whether something is due by now, which then is not any more.
    pub(super) fn take(&self, now: Instant) -> bool {
        let mut due = self.due();
        if due.is_none_or(|due| due > now) {
            return false;
        }
        *due = None;
        // Nothing there is no error: the deadline was met without waiting for the timer.
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        true
    }

    fn due(&self) -> MutexGuard<'_, Option<Instant>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, when: Instant) {
        let delay = when.saturating_duration_since(Instant::now());
        let never = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let timer = Itimerspec {
            it_interval: never,
            // All zero would stop the timer.
            it_value: match Timespec::try_from(delay) {
                Ok(delay) if delay != never => delay,
                _ => Timespec {
                    tv_sec: 0,
                    tv_nsec: 1,
                },
            },
        };
        if let Err(error) =
            rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer)
        {
            // The fd and the values are ours: there is nothing it could refuse.
            tracing::warn!(%error, "timer not set");
        }
    }
}
