//! Serving the client: one turn, or as long as an embedder without a loop wants it.

use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use irqbroker_core::Wait;
use irqbroker_protocol::ReceiveError;
use irqbroker_protocol::ServerFrame;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::epoll;
use rustix::io::Errno;

use super::error::ControlError;
use super::handle::CLOCK;
use super::handle::CONNECTION;
use super::handle::ControlClient;
use super::wire::Broken;
use super::wire::Wire;

/// Packets taken with one call.
const PACKETS: usize = 64;

impl ControlClient {
    /// Does what there is to do, without waiting: connects, follows instructions, tries again.
    ///
    /// That the daemon is gone is no error: see [`ClientEvent`](super::ClientEvent).
    pub fn service(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); 2];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let words: Vec<u64> = match epoll::wait(&self.epoll, &mut buffer, Some(&now)) {
            Ok((events, _)) => events.iter().map(|event| event.data.u64()).collect(),
            Err(_) => return,
        };
        if words.contains(&CLOCK) {
            let mut expirations = [0u8; 8];
            // Nonblocking: whoever rang it, it rings no more.
            let _rung = rustix::io::read(&self.clock, &mut expirations);
            if self.wire.is_none() {
                self.connect();
            }
        }
        if words.contains(&CONNECTION) {
            self.serve_connection();
        }
        self.poll_for_room();
    }

    /// Serves the client and its registry until `stop` is readable: for embedders without a loop
    /// of their own. Other events than the daemon's wake it only where links are relayed here.
    ///
    /// # Errors
    ///
    /// The wait failed for good.
    pub fn run(&mut self, stop: BorrowedFd<'_>) -> Result<(), ControlError> {
        let registry = self.registry.clone();
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(stop, PollFlags::IN),
                PollFd::from_borrowed_fd(self.poll_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(registry.poll_fd(), PollFlags::IN),
            ];
            match rustix::event::poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
            let [stopped, asked, relays] = [ready(&fds[0]), ready(&fds[1]), ready(&fds[2])];
            if stopped {
                return Ok(());
            }
            if asked {
                self.service();
            }
            if relays {
                registry.service(Wait::No)?;
            }
        }
    }

    fn serve_connection(&mut self) {
        let flushed = self.wire.as_mut().map(Wire::flush);
        if matches!(flushed, Some(Err(Broken))) {
            self.hear_out();
            return;
        }
        for _ in 0..PACKETS {
            let Some(wire) = &mut self.wire else { return };
            match wire.connection.receive() {
                Ok(packet) => match ServerFrame::decode(packet.bytes) {
                    Ok(frame) => {
                        let fds = packet.fds;
                        self.receive(frame, fds);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the daemon sent what is no message");
                        self.lose();
                    }
                },
                Err(ReceiveError::WouldBlock) => return,
                Err(_) => {
                    self.hear_out();
                    return;
                }
            }
        }
    }

    /// Polls the connection for room exactly while something waits for it.
    pub(super) fn poll_for_room(&mut self) {
        let Some(wire) = &mut self.wire else { return };
        let waits = wire.waits();
        if wire.polled_for_room == waits {
            return;
        }
        let flags = match waits {
            true => epoll::EventFlags::IN | epoll::EventFlags::OUT,
            false => epoll::EventFlags::IN,
        };
        let data = epoll::EventData::new_u64(CONNECTION);
        // The connection is in the set: it fails for want of memory alone, and is tried again.
        if epoll::modify(&self.epoll, &wire.connection, data, flags).is_ok() {
            wire.polled_for_room = waits;
        }
    }
}
