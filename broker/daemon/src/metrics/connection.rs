//! One scraper: its request comes in, its answer goes out, and that is all.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;

use super::request;
use super::request::HEAD_LIMIT;
use super::request::Parsed;
use super::response;

/// How a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It waits for the rest of the request.
    Reads,
    /// It waits for room to send.
    Writes,
    /// It is over.
    Done,
}

/// A connection of a scraper.
#[derive(Debug)]
pub(super) struct Connection {
    /// Non-blocking.
    pub(super) socket: OwnedFd,
    request: Vec<u8>,
    /// The answer and how much of it has gone.
    answer: Option<(Vec<u8>, usize)>,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            request: Vec::new(),
            answer: None,
        }
    }

    /// Goes as far as it can without waiting. `text` makes the metrics, once.
    pub(super) fn go_on(&mut self, text: impl FnOnce() -> String) -> Progress {
        if self.answer.is_none() {
            match self.read() {
                Parsed::More => return Progress::Reads,
                Parsed::Metrics(body) => {
                    self.answer = Some((response::metrics(&text(), body), 0));
                }
                Parsed::Refused(refusal) => self.answer = Some((response::refusal(refusal), 0)),
            }
        }
        self.write()
    }

    fn read(&mut self) -> Parsed {
        let mut bytes = [0; HEAD_LIMIT];
        loop {
            let free = HEAD_LIMIT.saturating_sub(self.request.len());
            match rustix::net::recv(self.socket.as_fd(), &mut bytes[..free], RecvFlags::empty()) {
                // The end of the stream, or an error: no more will come.
                Ok((0, _)) => return Parsed::Refused(request::Refusal::Malformed),
                Ok((count, _)) => self.request.extend_from_slice(&bytes[..count]),
                Err(Errno::AGAIN) => return Parsed::More,
                Err(Errno::INTR) => continue,
                Err(_) => return Parsed::Refused(request::Refusal::Malformed),
            }
            match request::parse(&self.request) {
                Parsed::More => {}
                parsed => return parsed,
            }
        }
    }

    fn write(&mut self) -> Progress {
        let Some((answer, sent)) = &mut self.answer else {
            return Progress::Reads;
        };
        while let Some(rest) = answer.get(*sent..).filter(|rest| !rest.is_empty()) {
            match rustix::net::send(self.socket.as_fd(), rest, SendFlags::NOSIGNAL) {
                Ok(count) => *sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Progress::Writes,
                Err(_) => return Progress::Done,
            }
        }
        Progress::Done
    }
}
