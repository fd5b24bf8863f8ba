//! A state with peers that do as they are told, or do not.

use std::collections::BTreeSet;
use std::rc::Rc;

use irqbroker::Token;
use irqbroker_protocol::Answer;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::InstructionId;
use irqbroker_protocol::Name;
use irqbroker_protocol::Notice;
use irqbroker_protocol::Outcome;
use irqbroker_protocol::ProducerSwitch;
use irqbroker_protocol::Reason;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::RegisterConsumer;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Scope;
use irqbroker_protocol::State as DeliveryState;
use irqbroker_protocol::WireError;
use rustix::event::EventfdFlags;

use super::ConsumerFds;
use super::Effect;
use super::NewSession;
use super::ProducerFds;
use super::Quotas;
use super::SessionId;
use super::State;
use crate::serve::claim_fd::ClaimRecord;
use crate::serve::partners::Partners;

/// The uids of peers that may meet.
pub(super) const UIDS: [u32; 2] = [1000, 1001];
/// One that is nobody's partner.
pub(super) const STRANGER: u32 = 1002;

/// A state and what its effects have led to.
pub(super) struct Rig {
    pub(super) state: State,
    pub(super) relaying: BTreeSet<u64>,
    /// Instructions that wait for an answer, with whom they were given to.
    pub(super) told: Vec<(SessionId, InstructionId)>,
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn event() -> Token {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    Token::of(rustix::event::eventfd(0, flags).unwrap()).unwrap()
}

impl Rig {
    /// `quotas` are the daemon's.
    pub(super) fn new(quotas: Quotas) -> Self {
        let partners = Partners {
            groups: vec![UIDS.to_vec()],
        };
        Self {
            state: State::new(quotas, partners),
            relaying: BTreeSet::new(),
            told: Vec::new(),
        }
    }

    pub(super) fn open(&mut self, session: u64, linger_ms: u32) -> SessionId {
        let uid = match session % 3 {
            0 => UIDS[0],
            1 => UIDS[1],
            _ => STRANGER,
        };
        self.open_as(session, linger_ms, uid)
    }

    pub(super) fn open_as(&mut self, session: u64, linger_ms: u32, uid: u32) -> SessionId {
        let id = SessionId(session);
        let record = ClaimRecord::create().unwrap();
        self.state.open(
            id,
            NewSession {
                uid,
                client: "rig".to_owned(),
                scopes: Scope::ALL.to_vec(),
                linger_ms,
                record: Some(Rc::new(record)),
            },
        );
        id
    }

    pub(super) fn produce(
        &mut self,
        session: SessionId,
        (called, link): (&str, Option<&str>),
        event: &Token,
        switch: ProducerSwitch,
    ) -> Result<u64, WireError> {
        let request = RegisterProducer {
            link: link.map(name),
            switch,
            ..RegisterProducer::edge(name(called))
        };
        let fds = ProducerFds {
            event: event.clone(),
            switched_to: None,
        };
        let registered = self.state.register_producer(session, request, fds)?;
        Ok(registered.link)
    }

    pub(super) fn consume(
        &mut self,
        session: SessionId,
        (called, link): (&str, Option<&str>),
        event: &Token,
        takes: ConsumerTakes,
    ) -> Result<u64, WireError> {
        let request = RegisterConsumer {
            link: link.map(name),
            takes,
            ..RegisterConsumer::reading(name(called))
        };
        let fds = ConsumerFds {
            event: event.clone(),
            resample: None,
            attached: None,
        };
        let registered = self.state.register_consumer(session, request, fds)?;
        Ok(registered.link)
    }

    /// Answers an instruction, well or not.
    pub(super) fn answer(&mut self, at: usize, declines: bool) -> Result<(), WireError> {
        let (session, instruction) = self.told.remove(at);
        let reason = Reason::new(ReasonCode::Best, "answered");
        let outcome = match declines {
            true => Outcome::Declined { reason },
            false => Outcome::Done {
                state: DeliveryState::Bypass,
                reason,
            },
        };
        self.state.answer(
            session,
            Answer {
                instruction,
                outcome,
            },
        )
    }

    /// Lets the effects so far happen.
    pub(super) fn happen(&mut self) {
        for effect in self.state.take_effects() {
            match effect {
                Effect::StartRelay { link, .. } => drop(self.relaying.insert(link)),
                Effect::StopRelay { link, .. } => drop(self.relaying.remove(&link)),
                Effect::Tell {
                    session, notice, ..
                } => {
                    let instruction = match notice {
                        Notice::Attach(attach) => Some(attach.instruction),
                        Notice::Detach(detach) => Some(detach.instruction),
                        Notice::Switch(switch) => Some(switch.instruction),
                        _ => None,
                    };
                    self.told.extend(instruction.map(|id| (session, id)));
                }
                Effect::Recover { .. } | Effect::Event(_) => {}
            }
        }
    }
}
