//! Where a link has to go, and what its sides are told for it.

use irqbroker::Token;
use irqbroker_protocol::Attach;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::Detach;
use irqbroker_protocol::InstructionId;
use irqbroker_protocol::Notice;
use irqbroker_protocol::PathPolicy;
use irqbroker_protocol::ProducerSwitch;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::Switch;

use super::effect::Effect;
use super::link::Link;
use super::link::Taker;
use super::link::reason;
use super::object::Consumer;
use super::object::Pending;
use super::object::Producer;
use super::object::What;
use super::session::SessionId;
use super::session::State;
use crate::serve::relay::Forwarding;
use crate::serve::relay::LastClaim;

impl State {
    /// Moves a link as far as it can go now. Called after every change, on a link that is out.
    pub(crate) fn settle(&mut self, link: &mut Link) {
        let to = self.aim(link);
        let from = std::mem::replace(&mut link.taker, to);
        let forwards = |taker: &Taker| matches!(taker, Taker::Relay(_));
        match (forwards(&from), forwards(&link.taker)) {
            (false, true) => self.start_relay(link),
            (true, false) => {
                // What a producer signalled before it left, or before it was switched, is the
                // consumer's; otherwise the next taker finds it.
                let last = match (&link.taker, &link.producer) {
                    (Taker::Switched, _) | (_, None) => LastClaim::Forward,
                    _ => LastClaim::Leave,
                };
                let link = link.id;
                self.effects.push(Effect::StopRelay { link, last });
            }
            _ => {}
        }
        self.show(link);
    }

    /// Begins to forward, or begins again with what the sides are now.
    pub(crate) fn start_relay(&mut self, link: &Link) {
        if let (Some(producer), Some(consumer)) = (&link.producer, &link.consumer) {
            self.effects.push(Effect::StartRelay {
                link: link.id,
                forwarding: Forwarding {
                    source: producer.token.clone(),
                    sink: consumer.token.clone(),
                    claims: consumer.claims(),
                    events: link.events.clone(),
                },
            });
        }
    }

    /// Who is to take what stands in the producer's eventfd; tells the sides what that needs.
    fn aim(&mut self, link: &mut Link) -> Taker {
        let shared = link.shares_one_event();
        let (Some(producer), Some(consumer)) = (&mut link.producer, &mut link.consumer) else {
            if link.left {
                self.let_go(link);
            }
            return Taker::Other;
        };
        if shared || consumer.pending.is_some() {
            return Taker::Other;
        }
        let best = link.path == PathPolicy::Auto;
        match &consumer.attached {
            Some(bound) if best && *bound == producer.token => return Taker::Other,
            Some(_) if best && consumer.takes == ConsumerTakes::Attach => {
                self.tell_attach(producer, consumer);
                return Taker::Other;
            }
            Some(_) => {
                self.tell_detach(consumer);
                return Taker::Other;
            }
            None => {}
        }
        let willing = best && link.declined.is_none();
        if willing
            && consumer.takes == ConsumerTakes::Attach
            && self.tell_attach(producer, consumer)
        {
            return Taker::Other;
        }
        let switches = willing
            && consumer.takes == ConsumerTakes::OwnIrqfd
            && producer.request.switch == ProducerSwitch::Masked;
        match &producer.switched_to {
            Some(to) if best && *to == consumer.token => return Taker::Switched,
            Some(_) => self.tell_switch(producer, None),
            None if switches => self.tell_switch(producer, Some(&consumer.token)),
            None => {}
        }
        Taker::Relay(match (&link.declined, link.path, consumer.takes) {
            (_, PathPolicy::Relay, _) => reason(ReasonCode::RelayRequested),
            (Some(declined), ..) => declined.clone(),
            (.., ConsumerTakes::OwnRead) => reason(ReasonCode::UserSpaceConsumer),
            (.., ConsumerTakes::OwnIrqfd) if !switches => reason(ReasonCode::SourceCannotSwitch),
            _ => reason(ReasonCode::PromotionPending),
        })
    }

    /// The side that stayed shall let go of the eventfd of the one that left.
    fn let_go(&mut self, link: &mut Link) {
        if let Some(consumer) = &mut link.consumer
            && consumer.attached.is_some()
        {
            self.tell_detach(consumer);
        }
        if let Some(producer) = &mut link.producer
            && producer.switched_to.is_some()
        {
            self.tell_switch(producer, None);
        }
    }

    /// Whether there was somebody to tell.
    fn tell_attach(&mut self, producer: &Producer, consumer: &mut Consumer) -> bool {
        let Some((session, id)) = self.instruct(consumer.owner.session, &consumer.pending) else {
            return false;
        };
        let request = &producer.request;
        consumer.reported = None;
        consumer.pending = Some(Pending {
            id,
            what: What::Attach(producer.token.clone()),
        });
        self.effects.push(Effect::Tell {
            session,
            notice: Notice::Attach(Attach {
                instruction: id,
                consumer: consumer.name.clone(),
                producer: request.name.clone(),
                trigger: request.trigger,
                automasked: request.automasked,
                source_id: request.source_id,
                host_irq: request.host_irq,
            }),
            fds: vec![producer.token.clone()],
        });
        true
    }

    fn tell_detach(&mut self, consumer: &mut Consumer) {
        let Some((session, id)) = self.instruct(consumer.owner.session, &consumer.pending) else {
            return;
        };
        consumer.pending = Some(Pending {
            id,
            what: What::Detach,
        });
        self.effects.push(Effect::Tell {
            session,
            notice: Notice::Detach(Detach {
                instruction: id,
                consumer: consumer.name.clone(),
            }),
            fds: Vec::new(),
        });
    }

    /// To the consumer's eventfd, or back to its own.
    fn tell_switch(&mut self, producer: &mut Producer, to: Option<&Token>) {
        let Some((session, id)) = self.instruct(producer.owner.session, &producer.pending) else {
            return;
        };
        producer.pending = Some(Pending {
            id,
            what: match to {
                Some(to) => What::Switch(to.clone()),
                None => What::SwitchBack,
            },
        });
        self.effects.push(Effect::Tell {
            session,
            notice: Notice::Switch(Switch {
                instruction: id,
                producer: producer.request.name.clone(),
                back: to.is_none(),
            }),
            fds: to.into_iter().cloned().collect(),
        });
    }

    /// A number for an instruction, if there is a connection to give it to and none is under way.
    fn instruct(
        &mut self,
        session: Option<SessionId>,
        pending: &Option<Pending>,
    ) -> Option<(SessionId, InstructionId)> {
        let id = session.filter(|_| pending.is_none())?;
        let session = self.sessions.get_mut(&id)?;
        session.last_instruction += 1;
        Some((id, InstructionId(session.last_instruction)))
    }
}
