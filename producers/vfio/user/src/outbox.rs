//! Messages on their way out, each with its fds.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Errno;

use crate::header::Header;

/// What waits to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// How much of it has been sent.
    sent: usize,
    /// The messages that have fds, in their order.
    parcels: VecDeque<Parcel>,
}

/// A message that is sent alone, so that the receiver knows whose fds came.
#[derive(Debug)]
struct Parcel {
    start: usize,
    end: usize,
    fds: Vec<OwnedFd>,
}

/// The payload of a reply that is being written.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
    fds: Vec<OwnedFd>,
}

impl Outbox {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Adds the reply to `request`, with what `write` makes of its payload; an error is a reply
    /// without one.
    pub(crate) fn reply(
        &mut self,
        request: &Header,
        write: impl FnOnce(&mut Payload<'_>) -> Result<(), Errno>,
    ) {
        self.forget_sent();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; Header::SIZE]);
        let mut payload = Payload {
            start: self.bytes.len(),
            bytes: &mut self.bytes,
            fds: Vec::new(),
        };
        let mut outcome = write(&mut payload);
        let mut fds = payload.fds;
        let size = u32::try_from(self.bytes.len() - start);
        if size.is_err() {
            outcome = Err(Errno::EOVERFLOW);
        }
        if outcome.is_err() {
            self.bytes.truncate(start + Header::SIZE);
            fds.clear();
        }
        let end = self.bytes.len();
        let size = u32::try_from(end - start).unwrap_or(0);
        let header = request.reply(size, outcome).encode();
        self.bytes[start..start + Header::SIZE].copy_from_slice(&header);
        if !fds.is_empty() {
            self.parcels.push_back(Parcel { start, end, fds });
        }
    }

    /// Has `write` make a payload that nobody gets.
    pub(crate) fn discard(&mut self, write: impl FnOnce(&mut Payload<'_>)) {
        let start = self.bytes.len();
        let mut payload = Payload {
            start,
            bytes: &mut self.bytes,
            fds: Vec::new(),
        };
        write(&mut payload);
        self.bytes.truncate(start);
    }

    /// What is to be sent next, in one piece.
    pub(crate) fn front(&self) -> Option<(&[u8], &[OwnedFd])> {
        if self.len() == 0 {
            return None;
        }
        Some(match self.parcels.front() {
            Some(parcel) if parcel.start == self.sent => {
                (&self.bytes[parcel.start..parcel.end], &parcel.fds)
            }
            Some(parcel) => (&self.bytes[self.sent..parcel.start], &[]),
            None => (&self.bytes[self.sent..], &[]),
        })
    }

    /// So many bytes of the front have been sent, and with the first of them its fds.
    pub(crate) fn advance(&mut self, len: usize) {
        let at_parcel = matches!(self.parcels.front(), Some(parcel) if parcel.start == self.sent);
        if len > 0 && at_parcel {
            self.parcels.pop_front();
        }
        self.sent = self.bytes.len().min(self.sent + len);
        if self.sent == self.bytes.len() {
            self.sent = 0;
            self.bytes.clear();
        }
    }

    /// Gives back the room of what was sent, where a peer never takes all that waits.
    fn forget_sent(&mut self) {
        if self.sent <= self.len() {
            return;
        }
        self.bytes.drain(..self.sent);
        for parcel in &mut self.parcels {
            parcel.start -= self.sent;
            parcel.end -= self.sent;
        }
        self.sent = 0;
    }
}

impl Payload<'_> {
    /// Adds bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds so many zeros, to be written over.
    pub(crate) fn zeros(&mut self, len: usize) -> &mut [u8] {
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        &mut self.bytes[start..]
    }

    /// What has been written.
    pub(crate) fn written(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// Takes back all but the first bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.start + len);
    }

    /// Adds an fd.
    pub(crate) fn attach(&mut self, fd: OwnedFd) {
        self.fds.push(fd);
    }
}

#[cfg(test)]
mod tests;
