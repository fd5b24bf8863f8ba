//! A host that is to be destroyed is asked; it knows who uses it.
//!
//! ```text
//!  Waiting ── it serves ──► Asked ── its answer ──► decided
//!     │                       │ └─ hung up ──► Lost ──┐
//!     └───── its process has ended, or the deadline ──┴──► decided
//! ```

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use irqbroker_protocol::Connection;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::VgpuState;
use irqbroker_protocol::WireError;
use uuid::Uuid;

use super::child::Host;
use super::end_socket;
use super::end_socket::EndAnswer;
use super::end_socket::EndOrder;
use super::order::Ticket;

/// How long a host may take to answer: a thousand times what it does, and less than an operator's
/// command waits for the daemon.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// How long a host may take until it serves and can be asked: longer than any that starts takes, on a
/// machine that keeps it from running too. By force it is not waited for.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A destroy that is not decided yet.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) uuid: Uuid,
    pub(super) ticket: Ticket,
    order: EndOrder,
    progress: Progress,
    /// Of what it waits for now.
    pub(super) deadline: Instant,
}

#[derive(Debug)]
enum Progress {
    /// It does not serve yet.
    Waiting,
    Asked(Connection),
    /// It has hung up. It may be about to end.
    Lost,
}

/// What a destroy has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It has ended, or has told that it does: no user can come any more.
    End,
    /// Its user has been asked, and it ends by itself within [`end_socket::GRACE`].
    EndLater,
    /// It goes on.
    Refused(WireError),
}

impl Question {
    pub(super) fn new(uuid: Uuid, ticket: Ticket, force: bool, now: Instant) -> Self {
        let (order, limit) = match force {
            true => (EndOrder::Force, LIMIT),
            false => (EndOrder::IfUnused, START_LIMIT),
        };
        Self {
            uuid,
            ticket,
            order,
            progress: Progress::Waiting,
            deadline: now + limit,
        }
    }

    /// Where the answer comes.
    pub(super) fn wait(&self) -> Option<&Connection> {
        match &self.progress {
            Progress::Asked(connection) => Some(connection),
            Progress::Waiting | Progress::Lost => None,
        }
    }

    /// Goes on with it; what it has come to, if it is decided. The host has been looked at.
    pub(super) fn look(
        &mut self,
        host: Option<&Host>,
        socket: &Path,
        now: Instant,
    ) -> Option<Decision> {
        let Some(host) = host.filter(|host| host.lives()) else {
            return Some(Decision::End);
        };
        if matches!(self.progress, Progress::Waiting) && host.row.state == VgpuState::Running {
            self.progress = match end_socket::ask(socket, self.order) {
                Ok(connection) => Progress::Asked(connection),
                Err(error) => {
                    tracing::warn!(uuid = %self.uuid, %error, "a host cannot be asked to end");
                    return Some(self.unanswered());
                }
            };
            self.deadline = now + LIMIT;
        }
        if let Progress::Asked(connection) = &mut self.progress {
            match end_socket::answered(connection) {
                Ok(Some(answer)) => return Some(self.decide(answer)),
                Ok(None) => {}
                Err(_) => self.progress = Progress::Lost,
            }
        }
        if now < self.deadline {
            return None;
        }
        let answer = match &mut self.progress {
            Progress::Asked(connection) => end_socket::give_up(connection),
            Progress::Waiting | Progress::Lost => None,
        };
        Some(answer.map_or_else(|| self.unanswered(), |answer| self.decide(answer)))
    }

    fn decide(&self, answer: EndAnswer) -> Decision {
        match answer {
            EndAnswer::Ending => Decision::End,
            EndAnswer::UserAsked => Decision::EndLater,
            EndAnswer::Busy => {
                let uuid = self.uuid;
                let text = format!("vgpu {uuid} is in use; --force takes it from its user");
                Decision::Refused(WireError::new(ErrorCode::Busy, text))
            }
        }
    }

    /// One that does not answer is not known to be without a user.
    fn unanswered(&self) -> Decision {
        match self.order {
            EndOrder::Force => Decision::End,
            EndOrder::IfUnused => {
                let uuid = self.uuid;
                let text =
                    format!("vgpu {uuid} does not say whether it is in use; --force ends it");
                Decision::Refused(WireError::new(ErrorCode::Internal, text))
            }
        }
    }
}
