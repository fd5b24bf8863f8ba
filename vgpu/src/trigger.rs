//! An eventfd of somebody else's that a sub-index signals.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Errno;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::OFlags;

/// What `/proc` calls an eventfd.
const EVENTFD_LINK: &[u8] = b"anon_inode:[eventfd]";

/// A bound eventfd.
#[derive(Debug)]
pub(crate) struct Trigger {
    event: OwnedFd,
    write: WriteMode,
}

/// What a write does while the counter is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteMode {
    /// Fails.
    Fails,
    /// Waits until somebody reads. The mode is the file's, so it is not ours to change.
    Waits,
}

impl Trigger {
    /// Binds `event`, and keeps it.
    ///
    /// # Errors
    ///
    /// EINVAL if it is no eventfd.
    pub(crate) fn new(event: OwnedFd) -> Result<Self, Errno> {
        check(event.as_fd())?;
        Self::of_eventfd(event)
    }

    /// Binds `event`, and keeps a dup.
    ///
    /// # Errors
    ///
    /// EINVAL if it is no eventfd, EMFILE if it cannot be kept.
    pub(crate) fn borrow(event: BorrowedFd<'_>) -> Result<Self, Errno> {
        check(event)?;
        Self::of_eventfd(rustix::io::fcntl_dupfd_cloexec(event, 0)?)
    }

    fn of_eventfd(event: OwnedFd) -> Result<Self, Errno> {
        let write = if rustix::fs::fcntl_getfl(&event)?.contains(OFlags::NONBLOCK) {
            WriteMode::Fails
        } else {
            WriteMode::Waits
        };
        Ok(Self { event, write })
    }

    /// Adds 1 to its counter. One that is full says "at least one" already and is left alone; only
    /// an owner that fills a waiting one between the two system calls holds the caller up.
    pub(crate) fn signal(&self) {
        if self.write == WriteMode::Fails || self.has_room() {
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    fn has_room(&self) -> bool {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.event, PollFlags::OUT)];
        matches!(rustix::event::poll(&mut fds, Some(&at_once)), Ok(1))
            && fds[0].revents().contains(PollFlags::OUT)
    }
}

fn check(event: BorrowedFd<'_>) -> Result<(), Errno> {
    let link = format!("/proc/self/fd/{}", event.as_raw_fd());
    let link = rustix::fs::readlink(link, Vec::new())?;
    if link.as_bytes() == EVENTFD_LINK {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rustix::event::EventfdFlags;
    use rustix::event::eventfd;

    fn count(event: &OwnedFd) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(event, &mut count).unwrap();
        u64::from_ne_bytes(count)
    }

    #[test]
    fn signal_adds_one_to_an_eventfd_of_either_mode() {
        for flags in [EventfdFlags::empty(), EventfdFlags::NONBLOCK] {
            let event = eventfd(0, flags).unwrap();
            let trigger = Trigger::borrow(event.as_fd()).unwrap();
            trigger.signal();
            trigger.signal();
            assert_eq!(count(&event), 2);
        }
    }

    #[test]
    fn signal_of_a_full_counter_returns() {
        for flags in [EventfdFlags::empty(), EventfdFlags::NONBLOCK] {
            let event = eventfd(0, flags).unwrap();
            // The largest value a counter can have.
            rustix::io::write(&event, &(u64::MAX - 1).to_ne_bytes()).unwrap();
            Trigger::borrow(event.as_fd()).unwrap().signal();
            assert_eq!(count(&event), u64::MAX - 1);
        }
    }

    #[test]
    fn file_that_is_no_eventfd_is_refused() {
        let memory = rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let refused = Trigger::borrow(memory.as_fd());
        assert_eq!(refused.unwrap_err(), Errno::EINVAL);
        assert_eq!(Trigger::new(memory).unwrap_err(), Errno::EINVAL);
    }
}
