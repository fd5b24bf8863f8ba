//! The relay's epoll set, and the claim of what an eventfd holds.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::EventfdFlags;
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::io::ReadWriteFlags;

use crate::ids::LinkId;
use crate::link::Polled;

/// Events taken with one `epoll_wait`.
pub(crate) const BATCH: usize = 64;

/// Set in the event word of a link's resample event. Slots stay far below it.
const RESAMPLE: u64 = 1 << 31;
/// The event word of the kick.
const KICK: u64 = u64::MAX;

/// Edge-triggered: one report an event, and adding or modifying an entry reports what stands.
const INTEREST: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::ET);

/// What an epoll event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// A link's source eventfd.
    Source(LinkId),
    /// A level link's EOI event.
    Resample(LinkId),
    /// Somebody wants the service loop to look around.
    Kick,
}

/// How long a service call may wait for the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Take what is there.
    No,
    /// At most this long.
    For(Duration),
    /// Until something happens.
    Forever,
}

#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    kick: OwnedFd,
}

impl Poller {
    pub(crate) fn new() -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let kick = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &kick, epoll::EventData::new_u64(KICK), INTEREST)?;
        Ok(Self { epoll, kick })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Wakes one waiter.
    pub(crate) fn kick(&self) {
        // Refused only when the counter is full: then a wake-up is due anyway.
        let _ = rustix::io::write(&self.kick, &1u64.to_ne_bytes());
    }

    /// Puts a link's source into the set, or re-arms it: what stands in it is reported (again).
    pub(crate) fn arm(
        &self,
        id: LinkId,
        source: BorrowedFd<'_>,
        polled: Polled,
    ) -> Result<Polled, Errno> {
        let data = epoll::EventData::new_u64(id.to_raw());
        if polled != Polled::No {
            epoll::modify(&self.epoll, source, data, INTEREST)?;
            return Ok(polled);
        }
        let blocking = !rustix::fs::fcntl_getfl(source)?.contains(OFlags::NONBLOCK);
        epoll::add(&self.epoll, source, data, INTEREST)?;
        Ok(if blocking {
            Polled::Blocking
        } else {
            Polled::Nonblocking
        })
    }

    /// Puts a level link's EOI event into the set.
    pub(crate) fn arm_resample(&self, id: LinkId, event: BorrowedFd<'_>) -> Result<(), Errno> {
        let data = epoll::EventData::new_u64(id.to_raw() | RESAMPLE);
        epoll::add(&self.epoll, event, data, INTEREST)
    }

    /// Takes an fd out of the set.
    pub(crate) fn disarm(&self, fd: BorrowedFd<'_>) {
        // The only failure is that it is not in the set.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// One `epoll_wait`; tells `returned` that it is over and was not
    /// interrupted, then hands what is ready to `take` and
    /// returns how many there were.
    pub(crate) fn wait(
        &self,
        wait: Wait,
        returned: impl FnOnce(),
        mut take: impl FnMut(Ready),
    ) -> Result<usize, Errno> {
        let limit = match wait {
            Wait::Forever => None,
            Wait::No => Some(Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
            Wait::For(limit) => Timespec::try_from(limit).ok(),
        };
        let mut buffer = [MaybeUninit::uninit(); BATCH];
        let (events, _) = epoll::wait(&self.epoll, &mut buffer, limit.as_ref())?;
        returned();
        for event in &*events {
            let word = event.data.u64();
            take(match word {
                KICK => {
                    let _ = rustix::io::read(&self.kick, &mut [0u8; 8]);
                    Ready::Kick
                }
                word if word & RESAMPLE != 0 => Ready::Resample(LinkId::from_raw(word ^ RESAMPLE)),
                word => Ready::Source(LinkId::from_raw(word)),
            });
        }
        Ok(events.len())
    }
}

/// Takes what stands in the counter of an eventfd; 0 if nothing does. One system call.
pub(crate) fn claim(event: BorrowedFd<'_>, polled: Polled) -> u64 {
    let mut count = [0u8; 8];
    let read = match polled {
        Polled::Nonblocking => rustix::io::read(event, &mut count),
        // The flag belongs to the file, which is the embedder's as well: leave it, and ask for
        // one read that does not wait. An offset of all ones is the file's own position.
        Polled::Blocking | Polled::No => rustix::io::preadv2(
            event,
            &mut [IoSliceMut::new(&mut count)],
            u64::MAX,
            ReadWriteFlags::NOWAIT,
        ),
    };
    match read {
        Ok(8) => u64::from_ne_bytes(count),
        _ => 0,
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId {
        slot: 3,
        generation: 9,
    };

    fn event(flags: EventfdFlags) -> OwnedFd {
        rustix::event::eventfd(0, flags | EventfdFlags::CLOEXEC).unwrap()
    }

    fn ready(poller: &Poller) -> Vec<Ready> {
        let mut seen = Vec::new();
        poller
            .wait(Wait::No, || {}, |ready| seen.push(ready))
            .unwrap();
        seen
    }

    fn signal(event: &OwnedFd, count: u64) {
        rustix::io::write(event, &count.to_ne_bytes()).unwrap();
    }

    #[test]
    fn claim_of_a_blocking_eventfd_that_is_empty_returns_at_once() {
        let event = event(EventfdFlags::empty());
        assert_eq!(claim(event.as_fd(), Polled::Blocking), 0);
        signal(&event, 3);
        assert_eq!(claim(event.as_fd(), Polled::Blocking), 3);
        assert_eq!(claim(event.as_fd(), Polled::Blocking), 0);
    }

    #[test]
    fn arm_reports_what_stood_in_the_eventfd_each_time() {
        let poller = Poller::new().unwrap();
        let event = event(EventfdFlags::NONBLOCK);
        signal(&event, 1);
        let polled = poller.arm(LINK, event.as_fd(), Polled::No).unwrap();
        assert_eq!(polled, Polled::Nonblocking);
        assert_eq!(ready(&poller), [Ready::Source(LINK)]);
        assert_eq!(ready(&poller), []);
        poller.arm(LINK, event.as_fd(), polled).unwrap();
        assert_eq!(ready(&poller), [Ready::Source(LINK)]);
    }

    #[test]
    fn resample_event_and_kick_are_told_from_a_source() {
        let poller = Poller::new().unwrap();
        let event = event(EventfdFlags::NONBLOCK);
        poller.arm_resample(LINK, event.as_fd()).unwrap();
        signal(&event, 1);
        assert_eq!(ready(&poller), [Ready::Resample(LINK)]);
        poller.kick();
        assert_eq!(ready(&poller), [Ready::Kick]);
    }
}
