//! A timer that a story waits for: the pace of a guest or of a poller.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::Itimerspec;
use rustix::time::TimerfdClockId;
use rustix::time::TimerfdFlags;
use rustix::time::TimerfdTimerFlags;
use rustix::time::Timespec;

/// Ticks from one period after it was made on.
#[derive(Debug)]
pub(crate) struct Ticker(OwnedFd);

impl Ticker {
    pub(crate) fn every(period: Duration) -> anyhow::Result<Self> {
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let period = Timespec::try_from(period)?;
        let every = Itimerspec {
            it_interval: period,
            it_value: period,
        };
        rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every)?;
        Ok(Self(timer))
    }

    /// Waits for the next tick; how many there were since this was asked last.
    pub(crate) fn wait(&self) -> anyhow::Result<u64> {
        let mut ticks = [0; 8];
        rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut ticks))?;
        Ok(u64::from_ne_bytes(ticks))
    }
}
