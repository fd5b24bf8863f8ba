//! Token: the identity of an eventfd, by which a producer and a consumer find each other.

use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use crate::ids::EventId;
use crate::token_fd;

/// Highest id the kernel's allocator can hand out (`ida_alloc` returns an `int`).
pub(crate) const MAX_EVENT_ID: u64 = i32::MAX as u64;

/// The identity of an eventfd: the kernel's `eventfd-id`, pinned by a dup of the fd.
///
/// The fd number is no identity (dup'd and passed fds differ), the inode neither (all eventfds
/// share one). The id is reused after the last close, which the held dup prevents. Cloning shares
/// the dup.
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
    /// already, [`of_known`](Self::of_known) is twenty times cheaper.
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
        let info = token_fd::read_fdinfo(pin.as_fd())
            .map_err(|source| TokenError::Fdinfo { fd, source })?
            .ok_or(TokenError::NotEventfd { fd })?;
        if info.semaphore == Some(true) {
            return Err(TokenError::Semaphore { fd });
        }
        match info.id {
            Some(id) if id <= MAX_EVENT_ID => Ok(Self {
                id: EventId(id),
                pin: Arc::new(pin),
            }),
            _ => Err(TokenError::NoId { fd }),
        }
    }

    /// The same as [`of`](Self::of), but tries first whether `event` is the file behind `known`.
    ///
    /// # Errors
    ///
    /// See [`TokenError`].
    pub fn of_known(event: impl AsFd, known: &Self) -> Result<Self, TokenError> {
        match known.is_same_file(event.as_fd()) {
            Some(true) => Ok(known.clone()),
            _ => Self::of(event),
        }
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

fn raw(fd: BorrowedFd<'_>) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(&fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::EventfdFlags;
    use rustix::event::eventfd;

    fn event() -> OwnedFd {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
    }

    #[test]
    fn invariant_1_token_of_a_duplicate_is_the_same() {
        let event = event();
        let duplicate = event.try_clone().unwrap();
        assert_eq!(Token::of(&event).unwrap(), Token::of(&duplicate).unwrap());
    }

    #[test]
    fn token_of_another_eventfd_differs() {
        let (a, b) = (event(), event());
        assert_ne!(Token::of(&a).unwrap(), Token::of(&b).unwrap());
    }

    #[test]
    fn invariant_1_token_pins_its_id_after_the_last_other_close() {
        let a = event();
        let token = Token::of(&a).unwrap();
        drop(a);
        let others: Vec<OwnedFd> = (0..8).map(|_| event()).collect();
        for other in &others {
            assert_ne!(Token::of(other).unwrap(), token);
        }
    }

    #[test]
    fn token_of_a_file_that_is_no_eventfd_is_refused() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(matches!(
            Token::of(&null),
            Err(TokenError::NotEventfd { .. })
        ));
    }

    #[test]
    fn token_of_a_semaphore_eventfd_is_refused_where_the_kernel_shows_it() {
        let semaphore = eventfd(0, EventfdFlags::SEMAPHORE).unwrap();
        let shown = token_fd::read_fdinfo(semaphore.as_fd())
            .unwrap()
            .unwrap()
            .semaphore;
        let refused = matches!(Token::of(&semaphore), Err(TokenError::Semaphore { .. }));
        assert_eq!(refused, shown == Some(true));
    }

    #[test]
    fn is_same_file_tells_duplicate_from_other_where_the_kernel_can() {
        let (a, b) = (event(), event());
        let token = Token::of(&a).unwrap();
        assert_ne!(token.is_same_file(a.try_clone().unwrap()), Some(false));
        assert_ne!(token.is_same_file(&b), Some(true));
        assert_eq!(Token::of_known(&a, &token).unwrap(), token);
        assert_ne!(Token::of_known(&b, &token).unwrap(), token);
    }

    #[test]
    fn pending_reads_the_counter_without_draining_it() {
        let a = event();
        let token = Token::of(&a).unwrap();
        rustix::io::write(&a, &5u64.to_ne_bytes()).unwrap();
        assert_eq!(token.pending().unwrap(), 5);
        assert_eq!(token.pending().unwrap(), 5);
    }
}
