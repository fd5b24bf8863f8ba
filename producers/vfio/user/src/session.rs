//! One connection as a state machine: bytes and fds in, replies out, no I/O.
//!
//! ```text
//!   room ─ received ─► Inbox ─ next ─► Dispatch ─ reply ─► Outbox ─ unsent ─ sent ─►
//!                                         │
//!                                   Device, DmaSpace
//! ```
//!
//! Nothing is read while replies stand in the outbox beyond a message's size, so a client that
//! does not read cannot make it grow.

use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Errno;

use crate::dispatch::Dispatch;
use crate::inbox::Fds;
use crate::inbox::FramingError;
use crate::inbox::Inbox;
use crate::outbox::Outbox;

/// The server's side of a connection. Dropping it takes back what the client had of the device.
#[derive(Debug)]
pub(crate) struct Session {
    inbox: Inbox,
    outbox: Outbox,
    dispatch: Dispatch,
    /// Bytes that may wait before no further request is served.
    backlog: usize,
}

impl Session {
    pub(crate) fn new(dispatch: Dispatch) -> Self {
        let limits = dispatch.limits();
        Self {
            inbox: Inbox::new(limits.max_message(), limits.max_msg_fds),
            outbox: Outbox::default(),
            backlog: limits.max_message(),
            dispatch,
        }
    }

    /// Whether the client has said its version.
    pub(crate) const fn has_opened(&self) -> bool {
        self.dispatch.has_agreed()
    }

    /// Whether more is to be read: not while replies wait to be taken.
    pub(crate) fn wants_input(&self) -> bool {
        self.outbox.len() < self.backlog
    }

    /// Where to put what is read; only while [`wants_input`](Self::wants_input).
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.inbox.room()
    }

    /// Serves what has been read, and returns how many requests that were.
    ///
    /// # Errors
    ///
    /// The connection is of no use any more; a last reply that says so may be in the outbox.
    pub(crate) fn received(&mut self, len: usize, fds: Fds) -> Result<usize, FramingError> {
        self.inbox.filled(len, fds);
        self.serve()
    }

    /// What is to be sent next.
    pub(crate) fn unsent(&self) -> Option<(&[u8], &[OwnedFd])> {
        self.outbox.front()
    }

    /// So much of it is sent; serves what could not be before, and returns how many requests.
    ///
    /// # Errors
    ///
    /// As those of [`received`](Self::received).
    pub(crate) fn sent(&mut self, len: usize) -> Result<usize, FramingError> {
        let waited = !self.wants_input();
        self.outbox.advance(len);
        if waited { self.serve() } else { Ok(0) }
    }

    fn serve(&mut self) -> Result<usize, FramingError> {
        let mut requests = 0;
        while self.outbox.len() < self.backlog {
            match self.inbox.next() {
                Ok(Some(message)) => {
                    self.dispatch.answer(message, &mut self.outbox);
                    requests += 1;
                }
                Ok(None) => break,
                Err(error) => {
                    let errno = match error {
                        FramingError::Short { .. } => Errno::EINVAL,
                        FramingError::Long { .. } => Errno::EMSGSIZE,
                    };
                    if let Some(header) = self.inbox.front() {
                        self.outbox.reply(&header, |_| Err(errno));
                    }
                    return Err(error);
                }
            }
        }
        Ok(requests)
    }
}

#[cfg(test)]
mod tests;
