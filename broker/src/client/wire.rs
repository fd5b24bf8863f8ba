//! The client's end of the socket: packets out without waiting, numbers of what was asked.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use irqbroker_protocol::ClientFrame;
use irqbroker_protocol::Connection;
use irqbroker_protocol::Name;
use irqbroker_protocol::Request;
use irqbroker_protocol::SendError;
use irqbroker_protocol::Side;

/// Requests kept for a daemon that does not read; with more it is given up, and told everything
/// anew once it answers again.
const MOST_WAITING: usize = 4096;

/// What a response will be to.
#[derive(Debug)]
pub(super) enum Asked {
    Hello,
    /// Registrations, in their order.
    Batch(Vec<(Side, Name)>),
    /// One registration.
    Register(Side, Name),
    /// Something whose refusal changes nothing here.
    Other,
}

/// The connection is broken.
#[derive(Debug)]
pub(super) struct Broken;

/// A connection that never waits.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) connection: Connection,
    pub(super) asked: HashMap<u64, Asked>,
    /// Polled for room to write.
    pub(super) polled_for_room: bool,
    last: u64,
    out: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
}

impl Wire {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            asked: HashMap::new(),
            polled_for_room: false,
            last: 0,
            out: VecDeque::new(),
        }
    }

    /// Asks; what cannot be sent now is sent when the socket has room.
    pub(super) fn ask(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
        asked: Asked,
    ) -> Result<(), Broken> {
        self.last += 1;
        let bytes = ClientFrame::encode(self.last, request).map_err(|_| Broken)?;
        self.asked.insert(self.last, asked);
        if self.out.is_empty() {
            match self.connection.send(&bytes, fds) {
                Ok(()) => return Ok(()),
                Err(SendError::WouldBlock) => {}
                Err(_) => return Err(Broken),
            }
        }
        if self.out.len() == MOST_WAITING {
            return Err(Broken);
        }
        let kept: Result<Vec<OwnedFd>, _> =
            fds.iter().map(BorrowedFd::try_clone_to_owned).collect();
        self.out.push_back((bytes, kept.map_err(|_| Broken)?));
        Ok(())
    }

    /// Sends what was kept.
    pub(super) fn flush(&mut self) -> Result<(), Broken> {
        while let Some((bytes, fds)) = self.out.front() {
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            match self.connection.send(bytes, &fds) {
                Ok(()) => drop(self.out.pop_front()),
                Err(SendError::WouldBlock) => return Ok(()),
                Err(_) => return Err(Broken),
            }
        }
        Ok(())
    }

    /// Whether something waits for room.
    pub(super) fn waits(&self) -> bool {
        !self.out.is_empty()
    }
}
