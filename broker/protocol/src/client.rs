//! A client that asks and waits.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use crate::code::WireError;
use crate::connection::Connection;
use crate::connection::ReceiveError;
use crate::connection::SendError;
use crate::delivery::Reason;
use crate::delivery::ReasonCode;
use crate::frame::ClientFrame;
use crate::frame::ServerFrame;
use crate::hello::Hello;
use crate::hello::Welcome;
use crate::instruction::Answer;
use crate::instruction::Outcome;
use crate::link_row::LinkRow;
use crate::notice::Notice;
use crate::operator::Links;
use crate::operator::ListLinks;
use crate::request::Request;
use crate::unread::UnreadInstruction;

/// The number of answers to instructions that nobody could read; what is said to them is not waited for.
const UNREAD: u64 = u64::MAX;

/// Notices kept while a response is waited for; the oldest goes first.
const KEPT_NOTICES: usize = 1024;

/// A connection that asks and waits for the answer. What comes unasked meanwhile is kept.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    path: PathBuf,
    welcome: Welcome,
    claim_record: Option<OwnedFd>,
    last_id: u64,
    notices: VecDeque<(Notice, Vec<OwnedFd>)>,
}

/// An answer, with the fds that came with it.
#[derive(Debug)]
pub struct Reply<T> {
    /// The answer.
    pub body: T,
    /// The fds.
    pub fds: Vec<OwnedFd>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon answers.
    #[error("no daemon at {}; start one with `irqbroker serve`", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// The request could not be written as JSON.
    #[error("the request cannot be encoded")]
    Encode(#[source] serde_json::Error),
    /// The request could not be sent.
    #[error("the request cannot be sent")]
    Send(#[from] SendError),
    /// The daemon is there and has not answered within the limit that was given.
    #[error("the daemon at {} does not answer", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// No answer came.
    #[error("no answer")]
    Receive(#[from] ReceiveError),
    /// The answer is not what the contract says.
    #[error("the answer cannot be read")]
    Decode(#[source] serde_json::Error),
    /// An instruction that must not be declined cannot be read: the connection is to be closed.
    #[error("the instruction `{notice}` cannot be read")]
    Unread {
        /// Its name.
        notice: String,
    },
    /// The daemon refused.
    #[error("the daemon refused")]
    Refused(#[source] WireError),
    /// It could not be waited.
    #[error("cannot wait for the daemon")]
    Poll(#[source] Errno),
}

impl ClientError {
    /// The daemon's refusal, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&WireError> {
        match self {
            Self::Refused(error) => Some(error),
            _ => None,
        }
    }
}

impl Client {
    /// Connects and shakes hands.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn connect(path: &Path, hello: &Hello) -> Result<Self, ClientError> {
        Self::connect_with_record(path, hello, None)
    }

    /// The same, and waits no longer than `limit` for each answer, this one and later ones.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn connect_within(
        path: &Path,
        hello: &Hello,
        limit: Duration,
    ) -> Result<Self, ClientError> {
        let connection = Connection::connect_within(path, limit);
        let connection = connection.map_err(|source| no_connection(path, source))?;
        Self::shake_hands(connection, path, hello, None)
    }

    /// Connects and shakes hands, with the claim record of an earlier connection.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn connect_with_record(
        path: &Path,
        hello: &Hello,
        record: Option<BorrowedFd<'_>>,
    ) -> Result<Self, ClientError> {
        let connection = Connection::connect(path);
        let connection = connection.map_err(|source| no_connection(path, source))?;
        Self::shake_hands(connection, path, hello, record)
    }

    fn shake_hands(
        mut connection: Connection,
        path: &Path,
        hello: &Hello,
        record: Option<BorrowedFd<'_>>,
    ) -> Result<Self, ClientError> {
        let hello = Request::Hello(Hello {
            claim_record: record.is_some(),
            ..hello.clone()
        });
        let mut notices = VecDeque::new();
        let fds: Vec<BorrowedFd<'_>> = record.into_iter().collect();
        let welcome: Reply<Welcome> = exchange(&mut connection, &mut notices, 0, &hello, &fds)
            .map_err(|error| silent(error, path))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            welcome: welcome.body,
            claim_record: welcome.fds.into_iter().next(),
            last_id: 0,
            notices,
        })
    }

    /// What the daemon said in the handshake.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// The claim record, to be given to the next daemon.
    #[must_use]
    pub fn claim_record(&self) -> Option<BorrowedFd<'_>> {
        self.claim_record.as_ref().map(AsFd::as_fd)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn request<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Reply<T>, ClientError> {
        self.last_id += 1;
        let (connection, notices) = (&mut self.connection, &mut self.notices);
        let answered = exchange(connection, notices, self.last_id, request, fds);
        answered.map_err(|error| silent(error, &self.path))
    }

    /// Asks what needs no fds.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        Ok(self.request(request, &[])?.body)
    }

    /// All links, in as many requests as it takes.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn links(&mut self) -> Result<Vec<LinkRow>, ClientError> {
        let mut rows = Vec::new();
        let mut after = Some(0);
        while let Some(last) = after {
            let links: Links = self.ask(&Request::Links(ListLinks { after: last }))?;
            rows.extend(links.links);
            after = links.next;
        }
        Ok(rows)
    }

    /// The next notice; `None` if none comes within `limit`, where one is given. An instruction that
    /// cannot be read is declined here, and is none.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn notice(
        &mut self,
        limit: Option<Duration>,
    ) -> Result<Option<(Notice, Vec<OwnedFd>)>, ClientError> {
        loop {
            if let Some(notice) = self.notices.pop_front() {
                return Ok(Some(notice));
            }
            if !readable(&self.connection, limit).map_err(ClientError::Poll)? {
                return Ok(None);
            }
            let packet = self.connection.receive()?;
            match ServerFrame::decode(packet.bytes).map_err(ClientError::Decode)? {
                ServerFrame::Notice(notice) => return Ok(Some((notice, packet.fds))),
                ServerFrame::Unread(instruction) => decline(&self.connection, instruction)?,
                ServerFrame::Response { .. } | ServerFrame::Unknown => {}
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

fn no_connection(path: &Path, source: Errno) -> ClientError {
    let path = path.to_owned();
    match source {
        Errno::AGAIN => ClientError::Silent { path },
        source => ClientError::Connect { path, source },
    }
}

/// A socket that blocks says only after its limit that it would.
fn silent(error: ClientError, path: &Path) -> ClientError {
    match error {
        ClientError::Send(SendError::WouldBlock)
        | ClientError::Receive(ReceiveError::WouldBlock) => ClientError::Silent {
            path: path.to_owned(),
        },
        error => error,
    }
}

/// Asks and waits for the answer.
fn exchange<T: DeserializeOwned>(
    connection: &mut Connection,
    notices: &mut VecDeque<(Notice, Vec<OwnedFd>)>,
    id: u64,
    request: &Request,
    fds: &[BorrowedFd<'_>],
) -> Result<Reply<T>, ClientError> {
    let answered =
        send(connection, id, request, fds).and_then(|()| answer(connection, notices, id));
    match answered {
        // A daemon that turns a peer away or ends says why and closes, before it is asked or after: the
        // error of the closed socket comes first, and then what was said.
        Err(
            error @ (ClientError::Receive(ReceiveError::Closed)
            | ClientError::Send(SendError::Socket {
                source: Errno::PIPE | Errno::CONNRESET,
            })),
        ) => match answer(connection, notices, id) {
            Err(ClientError::Receive(_)) => Err(error),
            said => said,
        },
        answered => answered,
    }
}

fn send(
    connection: &Connection,
    id: u64,
    request: &Request,
    fds: &[BorrowedFd<'_>],
) -> Result<(), ClientError> {
    let bytes = ClientFrame::encode(id, request).map_err(ClientError::Encode)?;
    Ok(connection.send(&bytes, fds)?)
}

fn answer<T: DeserializeOwned>(
    connection: &mut Connection,
    notices: &mut VecDeque<(Notice, Vec<OwnedFd>)>,
    id: u64,
) -> Result<Reply<T>, ClientError> {
    loop {
        let packet = connection.receive()?;
        let frame = ServerFrame::decode(packet.bytes).map_err(ClientError::Decode)?;
        match frame {
            ServerFrame::Response { id: of, result } if of == id => {
                let body = result.map_err(ClientError::Refused)?;
                let body = body.read().map_err(ClientError::Decode)?;
                let fds = packet.fds;
                return Ok(Reply { body, fds });
            }
            ServerFrame::Notice(Notice::Closing(closing)) => {
                return Err(ClientError::Refused(WireError::new(
                    closing.code,
                    closing.text,
                )));
            }
            ServerFrame::Notice(notice) => {
                if notices.len() == KEPT_NOTICES {
                    notices.pop_front();
                }
                notices.push_back((notice, packet.fds));
            }
            ServerFrame::Unread(instruction) => decline(connection, instruction)?,
            ServerFrame::Response { .. } | ServerFrame::Unknown => {}
        }
    }
}

/// Answers an instruction that cannot be read.
fn decline(connection: &Connection, unread: UnreadInstruction) -> Result<(), ClientError> {
    if !unread.may_be_declined() {
        let notice = unread.notice;
        return Err(ClientError::Unread { notice });
    }
    let reason = Reason::new(
        ReasonCode::Declined,
        "the client does not know this instruction",
    );
    let answer = Request::Answer(Answer {
        instruction: unread.instruction,
        outcome: Outcome::Declined { reason },
    });
    send(connection, UNREAD, &answer, &[])
}

fn readable(socket: &Connection, limit: Option<Duration>) -> Result<bool, Errno> {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    match rustix::event::poll(&mut fds, limit.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
