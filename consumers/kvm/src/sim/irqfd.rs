//! An eventfd bound in the simulator, and what was written to it since.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use irqbroker_core::Gsi;
use irqbroker_core::Token;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::epoll;

use super::ioapic::LineSource;
use crate::errno::KvmErrno;

/// No waiting.
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

#[derive(Debug)]
pub(super) struct SimIrqfd {
    pub(super) token: Token,
    pub(super) gsi: Gsi,
    resample: Option<OwnedFd>,
    stale: Option<Stale>,
}

/// A count that was injected at bind and stands in the counter until somebody reads it.
#[derive(Debug)]
struct Stale {
    count: u64,
    /// Becomes ready when somebody reads the eventfd: a read is what makes one writable.
    reads: OwnedFd,
}

impl SimIrqfd {
    /// Binds, and tells whether something stood in the counter.
    pub(super) fn bind(
        token: Token,
        gsi: Gsi,
        resample: Option<OwnedFd>,
    ) -> Result<(Self, bool), KvmErrno> {
        let count = token.pending().map_err(|_| KvmErrno::INVAL)?;
        let stale = match count {
            0 => None,
            count => Some(Stale {
                count,
                reads: watch_reads(token.as_fd())?,
            }),
        };
        let irqfd = Self {
            token,
            gsi,
            resample,
            stale,
        };
        Ok((irqfd, count > 0))
    }

    /// Unbinding drains the counter.
    pub(super) fn unbind(self) {
        if !readable(std::slice::from_ref(&self)).is_empty() {
            drain(self.token.as_fd());
        }
    }

    pub(super) fn source(&self) -> LineSource {
        match self.resample {
            Some(_) => LineSource::Resampler,
            None => LineSource::User,
        }
    }

    pub(super) fn signal_resample(&self) {
        if let Some(event) = &self.resample {
            // A full counter is a signal already.
            let _full = rustix::io::write(event, &1u64.to_ne_bytes());
        }
    }

    /// Takes what was written since the last time; whether that was anything. To be asked only of
    /// readable ones.
    pub(super) fn claim(&mut self) -> bool {
        if let Some(stale) = &self.stale {
            let was_read = is_ready(&stale.reads);
            if !was_read && self.token.pending().is_ok_and(|count| count == stale.count) {
                return false;
            }
            self.stale = None;
        }
        drain(self.token.as_fd());
        true
    }
}

/// Places of those whose counter is not zero.
pub(super) fn readable(irqfds: &[SimIrqfd]) -> Vec<usize> {
    let mut fds: Vec<PollFd<'_>> = irqfds
        .iter()
        .map(|irqfd| PollFd::from_borrowed_fd(irqfd.token.as_fd(), PollFlags::IN))
        .collect();
    if rustix::event::poll(&mut fds, Some(&AT_ONCE)).is_err() {
        return Vec::new();
    }
    let ready = fds.iter().enumerate();
    ready
        .filter(|(_, fd)| fd.revents().contains(PollFlags::IN))
        .map(|(at, _)| at)
        .collect()
}

/// A resample event of the caller's, held as the kernel holds it.
pub(super) fn resample_event(event: BorrowedFd<'_>) -> Result<OwnedFd, KvmErrno> {
    Token::of(event).map_err(|_| KvmErrno::INVAL)?;
    Ok(rustix::io::fcntl_dupfd_cloexec(event, 0)?)
}

fn watch_reads(event: BorrowedFd<'_>) -> Result<OwnedFd, KvmErrno> {
    let reads = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let flags = epoll::EventFlags::OUT | epoll::EventFlags::ET;
    epoll::add(&reads, event, epoll::EventData::new_u64(0), flags)?;
    // The first report tells how it is now; only later ones tell of reads.
    let _writable_now = is_ready(&reads);
    Ok(reads)
}

fn is_ready(epoll: &OwnedFd) -> bool {
    let mut events = Vec::with_capacity(1);
    let ready = epoll::wait(
        epoll,
        rustix::buffer::spare_capacity(&mut events),
        Some(&AT_ONCE),
    );
    ready.is_ok() && !events.is_empty()
}

fn drain(event: BorrowedFd<'_>) {
    // Readable was checked, so this returns at once also on a blocking eventfd.
    let _count = rustix::io::read(event, &mut [0u8; 8]);
}
