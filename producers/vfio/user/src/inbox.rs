//! Messages out of a stream of bytes, each with the fds that were sent with it.
//!
//! A stream has no message boundaries, and fds do not say where in it they were sent. But the
//! kernel ends a read behind the data that fds came with (`unix_stream_read_generic`,
//! `net/unix/af_unix.c`), so the fds of a read belong to the message that its last byte belongs
//! to, whatever number of messages, whole or not, came before that one.

use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Errno;

use crate::header::Header;

/// What the buffer begins with: most messages are some dozens of bytes.
const INITIAL: usize = 4096;

/// Why the stream cannot be made messages of any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FramingError {
    /// A message that is shorter than its header.
    #[error("message of {size} bytes, less than its header")]
    Short {
        /// What its header says.
        size: u32,
    },
    /// A message that is longer than was agreed on.
    #[error("message of {size} bytes, at most {max} were agreed on")]
    Long {
        /// What its header says.
        size: u32,
        /// What was agreed on.
        max: usize,
    },
}

/// Fds of one read.
#[derive(Debug)]
pub(crate) enum Fds {
    /// All that were sent.
    Whole(Vec<OwnedFd>),
    /// Some could not be received, because this process has too many open; none is kept.
    Lost,
}

/// One message.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) header: Header,
    pub(crate) payload: &'a [u8],
    /// Its fds. EINVAL if they were more than was agreed on, EMFILE if some were lost; then all
    /// are closed.
    pub(crate) fds: Result<Vec<OwnedFd>, Errno>,
}

/// What has come and is not yet taken.
#[derive(Debug)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    /// Where the front message begins.
    start: usize,
    /// Where what has come ends.
    end: usize,
    max_message: usize,
    max_fds: usize,
    /// Fds of the front message.
    held: Result<Vec<OwnedFd>, Errno>,
    /// Fds of the last read, and where it ended, until it is known whose they are.
    fresh: Option<(Fds, usize)>,
}

impl Inbox {
    pub(crate) fn new(max_message: usize, max_fds: usize) -> Self {
        Self {
            buffer: vec![0; INITIAL.min(max_message)],
            start: 0,
            end: 0,
            max_message,
            max_fds,
            held: Ok(Vec::new()),
            fresh: None,
        }
    }

    /// Where to put what is read next; never empty while there is no whole message.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        // The last read ended behind whatever was not taken, so its fds belong to the front
        // message, unless several were left.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        if let Some((_, at)) = &mut self.fresh {
            *at -= self.start;
        }
        self.start = 0;
        let needed = self
            .front()
            .and_then(|header| usize::try_from(header.size).ok())
            .map_or(Header::SIZE, |size| size.min(self.max_message));
        if needed > self.buffer.len() {
            self.buffer.resize(needed, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes of the room are filled, and these fds came with them.
    pub(crate) fn filled(&mut self, len: usize, fds: Fds) {
        self.end = self.buffer.len().min(self.end + len);
        if matches!(&fds, Fds::Whole(fds) if fds.is_empty()) {
            return;
        }
        self.claim_fresh();
        self.fresh = Some((fds, self.end));
    }

    /// The next message, if it is all there.
    ///
    /// # Errors
    ///
    /// The stream makes no sense from here on; asked again, it answers the same.
    pub(crate) fn next(&mut self) -> Result<Option<Message<'_>>, FramingError> {
        let Some(header) = self.peek()? else {
            self.claim_fresh();
            return Ok(None);
        };
        let message = self.start..self.start + self.checked_size(&header)?;
        if matches!(self.fresh, Some((_, at)) if at <= message.end) {
            self.claim_fresh();
        }
        self.start = message.end;
        Ok(Some(Message {
            header,
            payload: &self.buffer[message.start + Header::SIZE..message.end],
            fds: std::mem::replace(&mut self.held, Ok(Vec::new())),
        }))
    }

    /// The header of the front message, if it is there, whatever it says.
    pub(crate) fn front(&self) -> Option<Header> {
        self.buffer[self.start..self.end]
            .first_chunk()
            .map(Header::decode)
    }

    /// The header of the next message, if it is all there; the message stays.
    ///
    /// # Errors
    ///
    /// As those of [`next`](Self::next).
    pub(crate) fn peek(&self) -> Result<Option<Header>, FramingError> {
        let Some(header) = self.front() else {
            return Ok(None);
        };
        let size = self.checked_size(&header)?;
        Ok((self.end - self.start >= size).then_some(header))
    }

    fn checked_size(&self, header: &Header) -> Result<usize, FramingError> {
        let long = FramingError::Long {
            size: header.size,
            max: self.max_message,
        };
        match usize::try_from(header.size) {
            Ok(size) if size < Header::SIZE => Err(FramingError::Short { size: header.size }),
            Ok(size) if size <= self.max_message => Ok(size),
            _ => Err(long),
        }
    }

    /// The fds of the last read belong to the front message.
    fn claim_fresh(&mut self) {
        let Some((fds, _)) = self.fresh.take() else {
            return;
        };
        match (&mut self.held, fds) {
            (Ok(held), Fds::Whole(mut fds)) if held.len() + fds.len() <= self.max_fds => {
                // Nearly always the first and only ones of their message.
                if held.is_empty() {
                    *held = fds;
                } else {
                    held.append(&mut fds);
                }
            }
            (Ok(_), Fds::Whole(_)) => self.held = Err(Errno::EINVAL),
            (Ok(_), Fds::Lost) => self.held = Err(Errno::EMFILE),
            (Err(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests;
