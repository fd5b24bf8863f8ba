//! Registering: who comes, whom it meets, and why it may not.

use irqbroker::Token;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::EventKind;
use irqbroker_protocol::Name;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::RegisterConsumer;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Registered;
use irqbroker_protocol::Side;
use irqbroker_protocol::State as DeliveryState;
use irqbroker_protocol::Trigger;
use irqbroker_protocol::WireError;

use super::effect::Effect;
use super::link::Link;
use super::link::Taker;
use super::link::delivery;
use super::object::Consumer;
use super::object::Owner;
use super::object::Producer;
use super::session::OBJECT_BYTES;
use super::session::Session;
use super::session::SessionId;
use super::session::State;
use crate::serve::claim_fd::SLOTS;

/// Fds that objects leave for connections to come.
const KEPT_FOR_CONNECTIONS: usize = 64;

/// What registering a producer brings.
#[derive(Debug)]
pub(crate) struct ProducerFds {
    pub(crate) event: Token,
    pub(crate) switched_to: Option<Token>,
}

/// What registering a consumer brings.
#[derive(Debug)]
pub(crate) struct ConsumerFds {
    pub(crate) event: Token,
    pub(crate) resample: Option<Token>,
    pub(crate) attached: Option<Token>,
}

/// What is found where an object is to be registered.
struct Place {
    link: Link,
    /// The same object is there already, from this connection.
    known: bool,
}

impl State {
    /// Registers a producer.
    ///
    /// # Errors
    ///
    /// See the contract; nothing changes.
    pub(crate) fn register_producer(
        &mut self,
        session: SessionId,
        request: RegisterProducer,
        fds: ProducerFds,
    ) -> Result<Registered, WireError> {
        self.all_or_nothing(|state| {
            let held = 1 + usize::from(fds.switched_to.is_some());
            let name = request.name.clone();
            let who = (session, Side::Producer, &name);
            let met_by = request.link.as_ref();
            let Place { mut link, known } = state.place(who, met_by, &fds.event, held)?;
            let answer = Registered {
                link: link.id,
                event_id: fds.event.id().0,
                slot: None,
            };
            if known {
                let same = link
                    .producer
                    .as_ref()
                    .is_some_and(|there| there.is(&request));
                state.put(link);
                return match same {
                    true => Ok(answer),
                    false => Err(otherwise(Side::Producer, &name)),
                };
            }
            if let Some(consumer) = &link.consumer {
                let resample = consumer.resample.is_some();
                match_or_refuse(request.trigger, resample)?;
            }
            let lingered = link.producer.is_some();
            let there = link.consumer.as_ref();
            let own = there.map(|consumer| &consumer.token);
            let bound = there.and_then(|consumer| consumer.attached.as_ref());
            link.producer = Some(Producer {
                owner: state.owner(session),
                token: one_of(fds.event, [own, bound]),
                request,
                switched_to: fds.switched_to.map(|to| one_of(to, [own, None])),
                pending: None,
            });
            state.arrive(link, Side::Producer, name, lingered);
            Ok(answer)
        })
    }

    /// Registers a consumer.
    ///
    /// # Errors
    ///
    /// See the contract; nothing changes.
    pub(crate) fn register_consumer(
        &mut self,
        session: SessionId,
        request: RegisterConsumer,
        fds: ConsumerFds,
    ) -> Result<Registered, WireError> {
        self.all_or_nothing(|state| {
            let held =
                1 + usize::from(fds.resample.is_some()) + usize::from(fds.attached.is_some());
            let name = request.name.clone();
            let who = (session, Side::Consumer, &name);
            let met_by = request.link.as_ref();
            let Place { mut link, known } = state.place(who, met_by, &fds.event, held)?;
            if known {
                let there = link.consumer.as_ref();
                let there = there.filter(|there| there.is(&request, &fds));
                let answer = there.map(|there| Registered {
                    link: link.id,
                    event_id: fds.event.id().0,
                    slot: there.slot,
                });
                state.put(link);
                return answer.ok_or_else(|| otherwise(Side::Consumer, &name));
            }
            if let Some(producer) = &link.producer {
                match_or_refuse(producer.request.trigger, fds.resample.is_some())?;
            }
            let slot = state.slot(session, request.slot)?;
            let record = state.sessions.get(&session);
            let record = record.and_then(|session| session.record.clone());
            let lingered = link.consumer.is_some();
            let there = link.producer.as_ref();
            let source = there.map(|producer| &producer.token);
            let switched_to = there.and_then(|producer| producer.switched_to.as_ref());
            let consumer = Consumer {
                owner: state.owner(session),
                name: request.name,
                token: one_of(fds.event, [source, switched_to]),
                takes: request.takes,
                route: request.route,
                resample: fds.resample,
                reported: fds
                    .attached
                    .is_some()
                    .then(|| delivery(DeliveryState::Bypass, ReasonCode::Best)),
                attached: fds.attached.map(|bound| one_of(bound, [source, None])),
                masked: request.masked,
                affinity: Vec::new(),
                record,
                slot,
                pending: None,
            };
            if let Some(claims) = consumer.claims()
                && request.slot.is_some()
                && !lingered
            {
                state.effects.push(Effect::Recover {
                    link: link.id,
                    claims,
                    sink: consumer.token.clone(),
                });
            }
            let answer = Registered {
                link: link.id,
                event_id: consumer.token.id().0,
                slot,
            };
            link.consumer = Some(consumer);
            state.arrive(link, Side::Consumer, name, lingered);
            Ok(answer)
        })
    }

    /// A side has come into its link.
    fn arrive(&mut self, mut link: Link, side: Side, name: Name, lingered: bool) {
        link.declined = None;
        link.left = false;
        self.event(EventKind::Registered {
            link: link.id,
            side,
            name,
        });
        self.show_pairing(&link);
        self.show_mask(&link);
        self.show_wishes(&link);
        let forwarded = matches!(link.taker, Taker::Relay(_));
        self.settle(&mut link);
        if lingered && forwarded && matches!(link.taker, Taker::Relay(_)) {
            // The object is the same, but its eventfd or its record may be another.
            self.start_relay(&link);
        }
        self.put(link);
    }

    /// Finds the link for an object, taken out; checks everything that the sides' kinds do not
    /// matter for.
    fn place(
        &mut self,
        (session, side, name): (SessionId, Side, &Name),
        link_name: Option<&Name>,
        event: &Token,
        held: usize,
    ) -> Result<Place, WireError> {
        let uid = self.uid(session);
        let at = self.names.get(&(uid, side, name.clone())).copied();
        if let Some(link) = at.and_then(|at| self.links.get(&at)) {
            let (owner, token) = link.side(side).ok_or_else(|| taken(name))?;
            let same = link.key.is_of(link_name, event);
            let own = owner.session == Some(session);
            if own && same && token == event {
                let link = self.take(link.id).ok_or_else(|| taken(name))?;
                return Ok(Place { link, known: true });
            }
            if own {
                return Err(otherwise(side, name));
            }
            if owner.session.is_some() {
                return Err(WireError::new(
                    ErrorCode::DuplicateName,
                    format!("a {side} {name} is another connection's"),
                ));
            }
            let id = link.id;
            if same {
                self.check_event(side, event, Some(id))?;
                let link = self.take(id).ok_or_else(|| taken(name))?;
                return Ok(Place { link, known: false });
            }
            self.withdraw(id, side);
        }
        self.check_event(side, event, None)?;
        self.check_quota(session, held)?;
        let key = self.key(uid, side, link_name, event);
        let Some(id) = self.keys.get(&key).copied() else {
            self.last_link += 1;
            self.note_new(self.last_link);
            let link = Link::new(self.last_link, key);
            return Ok(Place { link, known: false });
        };
        if !self.is_free(id, side, uid) {
            return Err(WireError::new(
                ErrorCode::LinkTaken,
                format!("the link has a {side} already"),
            ));
        }
        let link = self.take(id).ok_or_else(|| taken(name))?;
        Ok(Place { link, known: false })
    }

    fn check_event(&self, side: Side, event: &Token, but: Option<u64>) -> Result<(), WireError> {
        match self.events.get(&(side, event.id().0)) {
            Some(&holder) if Some(holder) != but => Err(WireError::new(
                ErrorCode::DuplicateToken,
                format!("eventfd {} is a {side}'s already", event.id()),
            )),
            _ => Ok(()),
        }
    }

    fn check_quota(&self, session: SessionId, held: usize) -> Result<(), WireError> {
        let used_up = |what| Err(WireError::new(ErrorCode::QuotaExceeded, what));
        let Some(session) = self.sessions.get(&session) else {
            return used_up("the connection is closed");
        };
        let holdings = self.holdings.get(&session.uid).copied().unwrap_or_default();
        if session.objects.len() >= self.quotas.objects {
            return used_up("the connection's objects are used up");
        }
        if holdings.fds + held > self.quotas.fds {
            return used_up("the fds of this uid are used up");
        }
        // Some are left for whoever wants to look what is going on.
        let kept = KEPT_FOR_CONNECTIONS.min(self.quotas.all_fds / 8);
        if self.fds_taken() + held > self.quotas.all_fds - kept {
            return used_up("the daemon's fds are used up");
        }
        if self.room(session.uid) < OBJECT_BYTES {
            return used_up("the memory of this uid is used up");
        }
        Ok(())
    }

    fn uid(&self, session: SessionId) -> u32 {
        self.sessions.get(&session).map_or(0, |session| session.uid)
    }

    fn owner(&self, session: SessionId) -> Owner {
        Owner {
            uid: self.uid(session),
            session: Some(session),
            until: None,
        }
    }

    /// A place in the connection's claim record: the one asked for, or a free one.
    fn slot(&mut self, session: SessionId, wanted: Option<u32>) -> Result<Option<u32>, WireError> {
        let Some(session) = self.sessions.get_mut(&session) else {
            return Ok(None);
        };
        if session.record.is_none() {
            return Ok(None);
        }
        if let Some(slot) = wanted {
            if slot >= SLOTS || session.slots.contains(&slot) {
                return Err(WireError::new(
                    ErrorCode::InvalidField,
                    format!("slot {slot} is taken, or not in the record"),
                ));
            }
            return Ok(Some(slot));
        }
        Ok(session.free_slot())
    }
}

impl Session {
    /// A place nobody has; none where the record is full.
    fn free_slot(&mut self) -> Option<u32> {
        let fresh = (self.next_slot..SLOTS).find(|slot| !self.slots.contains(slot));
        let slot = fresh.or_else(|| (0..SLOTS).find(|slot| !self.slots.contains(slot)))?;
        self.next_slot = slot + 1;
        Some(slot)
    }
}

impl Link {
    /// Whose a side is, and its eventfd.
    pub(crate) fn side(&self, side: Side) -> Option<(&Owner, &Token)> {
        match side {
            Side::Producer => self.producer.as_ref().map(|one| (&one.owner, &one.token)),
            Side::Consumer => self.consumer.as_ref().map(|one| (&one.owner, &one.token)),
        }
    }
}

/// The token that is held already of the same eventfd, so that its fd is held once.
fn one_of(token: Token, held: [Option<&Token>; 2]) -> Token {
    let same = held.into_iter().flatten().find(|held| **held == token);
    same.cloned().unwrap_or(token)
}

fn match_or_refuse(trigger: Trigger, resample: bool) -> Result<(), WireError> {
    match (trigger, resample) {
        (Trigger::Level, false) => Err(WireError::new(
            ErrorCode::Mismatch,
            "a level producer needs a consumer with a resample event",
        )),
        _ => Ok(()),
    }
}

fn otherwise(side: Side, name: &Name) -> WireError {
    WireError::new(
        ErrorCode::DuplicateName,
        format!("{side} {name} is registered otherwise; unregister it first"),
    )
}

fn taken(name: &Name) -> WireError {
    WireError::new(ErrorCode::Internal, format!("the link of {name} is in use"))
}
