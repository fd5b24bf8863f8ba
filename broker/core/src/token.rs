//! Token: the identity of an eventfd, by which a producer and a consumer find each other.

use std::collections::HashSet;
use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;

use crate::ids::EventId;
use crate::token_fd;
use crate::token_fd::EventfdInfo;
use crate::token_fd::FdinfoWindow;

/// Highest id the kernel's allocator can hand out (`ida_alloc` returns an `int`).
pub(crate) const MAX_EVENT_ID: u64 = i32::MAX as u64;

/// The identity of an eventfd: the kernel's `eventfd-id`, pinned by a dup of the fd or by the fd
/// itself.
///
/// The fd number is no identity (dup'd and passed fds differ), the inode neither (all eventfds
/// share one). The id is reused after the last close, which the held fd prevents. Cloning shares
/// the fd.
#[derive(Clone)]
pub struct Token {
    id: EventId,
    pin: Arc<OwnedFd>,
}

/// Why an fd cannot be a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is some other kind of file.
    #[error("fd {fd} is not an eventfd")]
    NotEventfd {
        /// The refused fd.
        fd: i32,
    },
    /// A semaphore eventfd hands out its count one by one, so an irqfd would leave the rest.
    #[error("fd {fd} is a semaphore eventfd; create it without EFD_SEMAPHORE")]
    Semaphore {
        /// The refused fd.
        fd: i32,
    },
    /// The kernel shows no `eventfd-id` (before Linux 5.2), or one out of its own range.
    #[error("the kernel shows no usable eventfd-id for fd {fd}")]
    NoId {
        /// The refused fd.
        fd: i32,
    },
    /// `/proc/self/fdinfo` could not be read.
    #[error("cannot read /proc/self/fdinfo/{fd}; is /proc mounted?")]
    Fdinfo {
        /// The fd asked about.
        fd: i32,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// The fd could not be duplicated.
    #[error("cannot duplicate fd {fd}")]
    Dup {
        /// The fd to be pinned.
        fd: i32,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
}

impl Token {
    /// Reads the identity of `event` and pins it.
    ///
    /// Costs a read of `/proc/self/fdinfo` (about 2 µs); where the token may be one that is known
    /// already, [`is_same_file`](Self::is_same_file) is twenty times cheaper.
    ///
    /// # Errors
    ///
    /// See [`TokenError`].
    pub fn of(event: impl AsFd) -> Result<Self, TokenError> {
        let event = event.as_fd();
        let fd = raw(event);
        // Pin first: the id that is read then cannot be handed to another eventfd meanwhile.
        let pin = rustix::io::fcntl_dupfd_cloexec(event, 0)
            .map_err(|source| TokenError::Dup { fd, source })?;
        Ok(Self::pinned(identify_alone(&pin)?, pin))
    }

    /// Takes eventfds over, each of which becomes its token's only fd.
    ///
    /// What [`of`](Self::of) finds out, for many at once: a fifth of the price, and no duplicates.
    ///
    /// # Errors
    ///
    /// See [`TokenError`]; all of them are closed.
    pub fn adopt_each(mut events: Vec<OwnedFd>) -> Result<Vec<Self>, TokenError> {
        Self::adopt_from(&mut events)
    }

    /// The same of fds from a stranger: what is no eventfd may be a file whose close waits for its
    /// owner, and is left to the caller to close.
    ///
    /// # Errors
    ///
    /// See [`TokenError`]; all that has to be closed is in `events`, duplicates as well.
    pub fn adopt_from(events: &mut Vec<OwnedFd>) -> Result<Vec<Self>, TokenError> {
        let ids = match identify_each(events)? {
            ids if are_distinct(&ids) => ids,
            // Two fds of one file, or a `/proc` that does not look at the fd when it is read: then
            // only a file opened for each can tell.
            _ => events
                .iter()
                .map(identify_alone)
                .collect::<Result<_, _>>()?,
        };
        let tokens = ids.into_iter().zip(events.drain(..));
        Ok(tokens.map(|(id, event)| Self::pinned(id, event)).collect())
    }

    /// The same for one.
    ///
    /// # Errors
    ///
    /// See [`TokenError`]; it is closed.
    pub fn adopt(event: OwnedFd) -> Result<Self, TokenError> {
        Ok(Self::pinned(identify_alone(&event)?, event))
    }

    fn pinned(id: EventId, pin: OwnedFd) -> Self {
        let pin = Arc::new(pin);
        Self { id, pin }
    }

    /// Whether `event` is the very file behind this token; `None` where the kernel cannot tell
    /// (before Linux 6.10).
    #[must_use]
    pub fn is_same_file(&self, event: impl AsFd) -> Option<bool> {
        token_fd::same_file(self.pin.as_fd(), event.as_fd())
    }

    /// The kernel's number for the eventfd.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// What stands in the eventfd's counter, read without draining it.
    ///
    /// # Errors
    ///
    /// `/proc/self/fdinfo` could not be read.
    pub fn pending(&self) -> Result<u64, TokenError> {
        let fd = raw(self.pin.as_fd());
        match token_fd::read_fdinfo(self.pin.as_fd()) {
            Ok(Some(info)) => Ok(info.count),
            Ok(None) => Err(TokenError::NotEventfd { fd }),
            Err(source) => Err(TokenError::Fdinfo { fd, source }),
        }
    }

    /// Whether anything stands in the eventfd's counter, which stays there. One system call, a
    /// tenth of [`pending`](Self::pending).
    ///
    /// # Errors
    ///
    /// The kernel is out of memory, and `/proc/self/fdinfo` could not be read.
    pub fn is_pending(&self) -> Result<bool, TokenError> {
        let mut poll = [PollFd::new(&self.pin, PollFlags::IN)];
        match rustix::event::poll(&mut poll, Some(&Timespec::default())) {
            Ok(_) => Ok(poll[0].revents().contains(PollFlags::IN)),
            Err(_) => self.pending().map(|count| count > 0),
        }
    }

    /// A token with a made-up id, behind which `pin` stands whatever it is.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn synthetic(id: EventId, pin: Arc<OwnedFd>) -> Self {
        Self { id, pin }
    }
}

impl AsFd for Token {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pin.as_fd()
    }
}

impl PartialEq for Token {
    /// Ids are compared; while both tokens live, both files do, so equal ids are one file.
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.id)
    }
}

/// The id in what `/proc` says of an fd, if it can be a token's.
fn identify(fd: i32, info: Result<Option<EventfdInfo>, Errno>) -> Result<EventId, TokenError> {
    let info = info
        .map_err(|source| TokenError::Fdinfo { fd, source })?
        .ok_or(TokenError::NotEventfd { fd })?;
    if info.semaphore == Some(true) {
        return Err(TokenError::Semaphore { fd });
    }
    match info.id {
        Some(id) if id <= MAX_EVENT_ID => Ok(EventId(id)),
        _ => Err(TokenError::NoId { fd }),
    }
}

fn identify_each(events: &mut Vec<OwnedFd>) -> Result<Vec<EventId>, TokenError> {
    let [first, _, ..] = &**events else {
        return events.iter().map(identify_alone).collect();
    };
    let mut window = FdinfoWindow::open().map_err(|source| TokenError::Fdinfo {
        fd: raw(first.as_fd()),
        source,
    })?;
    let each = events.iter().map(AsFd::as_fd);
    let ids: Result<_, _> = each
        .map(|event| identify(raw(event), window.read(event)))
        .collect();
    if ids.is_err() {
        // The one that is no eventfd.
        events.push(window.into_place());
    }
    ids
}

fn identify_alone(event: &OwnedFd) -> Result<EventId, TokenError> {
    identify(raw(event.as_fd()), token_fd::read_fdinfo(event.as_fd()))
}

fn are_distinct(ids: &[EventId]) -> bool {
    let mut seen = HashSet::with_capacity(ids.len());
    ids.iter().all(|id| seen.insert(*id))
}

fn raw(fd: BorrowedFd<'_>) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(&fd)
}

#[cfg(test)]
mod tests;
