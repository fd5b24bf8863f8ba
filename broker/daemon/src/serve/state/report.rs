//! What owners say of their objects: reports, and answers to instructions.

use irqbroker_protocol::Answer;
use irqbroker_protocol::ConsumerReport;
use irqbroker_protocol::Delivery;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::InstructionId;
use irqbroker_protocol::Name;
use irqbroker_protocol::Outcome;
use irqbroker_protocol::Reason;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::SetPath;
use irqbroker_protocol::Side;
use irqbroker_protocol::State as DeliveryState;
use irqbroker_protocol::Unregister;
use irqbroker_protocol::WireError;

use super::link::Key;
use super::link::Link;
use super::link::reason;
use super::object::What;
use super::session::SessionId;
use super::session::State;
use super::show::message;

/// Bytes kept of a text a peer gives.
const LONGEST_TEXT: usize = 160;

/// Host processors a report may name.
const MOST_PROCESSORS: usize = 64;

impl State {
    /// Withdraws an object of the connection's.
    ///
    /// # Errors
    ///
    /// It has none of this name.
    pub(crate) fn unregister(
        &mut self,
        session: SessionId,
        request: &Unregister,
    ) -> Result<(), WireError> {
        let link = self.own(session, request.side, &request.name)?;
        self.all_or_nothing(|state| {
            state.withdraw(link, request.side);
            Ok(())
        })
    }

    /// Takes a report of a consumer.
    ///
    /// # Errors
    ///
    /// The connection has none of this name, or the report cannot be.
    pub(crate) fn report(
        &mut self,
        session: SessionId,
        report: ConsumerReport,
    ) -> Result<(), WireError> {
        let id = self.own(session, Side::Consumer, &report.name)?;
        let affinity = report.affinity.as_deref().unwrap_or_default();
        if affinity.len() > MOST_PROCESSORS {
            return Err(WireError::new(
                ErrorCode::InvalidField,
                format!("a report names at most {MOST_PROCESSORS} processors"),
            ));
        }
        if let Some(state) = report.state {
            may_be_said(state)?;
        }
        let Some(mut link) = self.take(id) else {
            return Err(unknown(&report.name));
        };
        let mut remasked = false;
        let mut changed = None;
        if let Some(consumer) = &mut link.consumer {
            if let Some(masked) = report.masked {
                remasked = std::mem::replace(&mut consumer.masked, masked) != masked;
            }
            if let Some(state) = report.state {
                let why = report.reason.map_or_else(|| reason(ReasonCode::Best), kept);
                consumer.reported = Some(Delivery { state, reason: why });
            }
            if let Some(route) = report.route
                && consumer.route.replace(route) != Some(route)
            {
                changed = message(route);
            }
            if let Some(affinity) = &report.affinity {
                consumer.affinity.clone_from(affinity);
            }
        }
        if remasked {
            self.show_mask(&link);
        }
        self.pass_on(&link, changed, affinity);
        self.settle(&mut link);
        self.put(link);
        Ok(())
    }

    /// Whether a connection was given this instruction and has not answered it.
    pub(crate) fn awaits(&self, session: SessionId, instruction: InstructionId) -> bool {
        let told = self.sessions.get(&session);
        told.is_some_and(|told| told.instructions.contains_key(&instruction))
    }

    /// Takes the answer to an instruction.
    ///
    /// # Errors
    ///
    /// The connection was given none of this number, or it has answered; or the answer cannot be.
    pub(crate) fn answer(&mut self, session: SessionId, answer: Answer) -> Result<(), WireError> {
        if let Outcome::Done { state, .. } = answer.outcome {
            may_be_said(state)?;
        }
        let told = self.sessions.get(&session);
        let told = told.and_then(|told| told.instructions.get(&answer.instruction).copied());
        let Some((mut link, side)) = told.and_then(|(id, side)| Some((self.take(id)?, side)))
        else {
            return Err(WireError::new(
                ErrorCode::UnknownInstruction,
                format!("no instruction {} waits", answer.instruction.0),
            ));
        };
        match side {
            Side::Consumer => answer_of_consumer(&mut link, answer.outcome),
            Side::Producer => answer_of_producer(&mut link, answer.outcome),
        }
        self.settle(&mut link);
        self.put(link);
        Ok(())
    }

    /// Allows or forbids a link the better paths.
    ///
    /// # Errors
    ///
    /// There is no such link.
    pub(crate) fn set_path(&mut self, request: &SetPath) -> Result<(), WireError> {
        let id = self.find(&request.link)?;
        if let Some(mut link) = self.take(id) {
            link.path = request.path;
            link.declined = None;
            self.settle(&mut link);
            self.put(link);
        }
        Ok(())
    }

    /// The link of an object that is the connection's.
    fn own(&self, session: SessionId, side: Side, name: &Name) -> Result<u64, WireError> {
        let own = self.sessions.get(&session).and_then(|session| {
            let id = *self.names.get(&(session.uid, side, name.clone()))?;
            session.objects.contains(&(id, side)).then_some(id)
        });
        own.ok_or_else(|| unknown(name))
    }

    /// The link an operator means: the oldest, where several users have one of the name.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn find(&self, text: &str) -> Result<u64, WireError> {
        let by_id = || text.parse().ok().filter(|id| self.links.contains_key(id));
        let by_name = || {
            let wanted = Name::new(text).ok()?;
            let keys = self.keys.iter();
            let links =
                keys.filter(|(key, _)| matches!(key, Key::Name { name, .. } if *name == wanted));
            let side = |side| {
                let names = self.names.iter();
                let same = names.filter(|((_, of, name), _)| *of == side && *name == wanted);
                same.map(|(_, &id)| id).min()
            };
            let link = links.map(|(_, &id)| id).min();
            link.or_else(|| side(Side::Producer))
                .or_else(|| side(Side::Consumer))
        };
        by_name().or_else(by_id).ok_or_else(|| {
            WireError::new(
                ErrorCode::UnknownLink,
                "no link has this id or name, nor a side of this name",
            )
        })
    }
}

fn answer_of_consumer(link: &mut Link, outcome: Outcome) {
    let Some(consumer) = &mut link.consumer else {
        return;
    };
    match (consumer.pending.take().map(|pending| pending.what), outcome) {
        (Some(What::Attach(token)), Outcome::Done { state, reason }) => {
            consumer.attached = Some(token);
            let reason = kept(reason);
            consumer.reported = Some(Delivery { state, reason });
        }
        (Some(What::Attach(_)), Outcome::Declined { reason }) => {
            consumer.attached = None;
            link.declined = Some(kept(reason));
        }
        // A consumer that cannot let go says so by closing.
        (Some(What::Detach), _) => {
            consumer.attached = None;
            consumer.reported = None;
        }
        _ => {}
    }
}

fn answer_of_producer(link: &mut Link, outcome: Outcome) {
    let Some(producer) = &mut link.producer else {
        return;
    };
    match (producer.pending.take().map(|pending| pending.what), outcome) {
        (Some(What::Switch(token)), Outcome::Done { .. }) => producer.switched_to = Some(token),
        (Some(What::Switch(_)), Outcome::Declined { reason }) => {
            link.declined = Some(kept(reason));
        }
        (Some(What::SwitchBack), _) => producer.switched_to = None,
        _ => {}
    }
}

/// How a consumer's process may say that it delivers: whether it is matched the daemon knows, and
/// whether it is masked is said apart.
fn may_be_said(state: DeliveryState) -> Result<(), WireError> {
    match state {
        DeliveryState::Relay | DeliveryState::Bypass | DeliveryState::Posted => Ok(()),
        DeliveryState::Unmatched | DeliveryState::Masked | DeliveryState::Other => {
            Err(WireError::new(
                ErrorCode::InvalidField,
                format!("a process delivers by bypass, relay or posted, not {state}"),
            ))
        }
    }
}

/// A peer's reason as it is kept: one line, not too long.
fn kept(reason: Reason) -> Reason {
    let text = reason.text.chars().filter(|char| !char.is_control());
    let mut kept = String::new();
    for char in text {
        if kept.len() + char.len_utf8() > LONGEST_TEXT {
            break;
        }
        kept.push(char);
    }
    Reason::new(reason.code, kept)
}

fn unknown(name: &Name) -> WireError {
    WireError::new(
        ErrorCode::UnknownName,
        format!("the connection has nothing of the name {name}"),
    )
}
