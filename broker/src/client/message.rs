//! What comes from the daemon, and what is done for it.

use std::os::fd::OwnedFd;

use irqbroker_core::MsiMessage;
use irqbroker_core::Token;
use irqbroker_protocol as wire;
use irqbroker_protocol::Answer;
use irqbroker_protocol::AnswerBody;
use irqbroker_protocol::Attach;
use irqbroker_protocol::BatchDone;
use irqbroker_protocol::Detach;
use irqbroker_protocol::InstructionId;
use irqbroker_protocol::Name;
use irqbroker_protocol::Notice;
use irqbroker_protocol::Outcome;
use irqbroker_protocol::Reason;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::Registered;
use irqbroker_protocol::Request;
use irqbroker_protocol::ServerFrame;
use irqbroker_protocol::Side;
use irqbroker_protocol::Switch;
use irqbroker_protocol::UnreadInstruction;
use irqbroker_protocol::Welcome;
use irqbroker_protocol::WireError;

use super::event::ClientEvent;
use super::handle::ControlClient;
use super::wire::Asked;

impl ControlClient {
    /// Does what one packet says.
    pub(super) fn receive(&mut self, frame: ServerFrame, fds: Vec<OwnedFd>) {
        match frame {
            ServerFrame::Response { id, result } => {
                let asked = self.wire.as_mut().and_then(|wire| wire.asked.remove(&id));
                match asked {
                    Some(Asked::Hello) => self.welcome(result, fds),
                    Some(Asked::Batch(objects)) => self.batch_answered(objects, result),
                    Some(Asked::Register(side, name)) => self.one_answered(side, name, result),
                    Some(Asked::Other) | None => {
                        if let Err(error) = result {
                            tracing::warn!(%error, "the daemon refused");
                        }
                    }
                }
            }
            ServerFrame::Notice(notice) => self.notice(notice, fds),
            ServerFrame::Unread(instruction) => self.unread(&instruction),
            ServerFrame::Unknown => {}
        }
    }

    fn welcome(&mut self, result: Result<AnswerBody, WireError>, fds: Vec<OwnedFd>) {
        let welcome: Welcome = match result.map(|body| body.read()) {
            Ok(Ok(welcome)) => welcome,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the daemon's handshake cannot be read");
                self.lose();
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the daemon refused the handshake");
                self.note(ClientEvent::Rejected { error });
                self.lose();
                return;
            }
        };
        if let Some(record) = fds.into_iter().next() {
            self.record = Some(record);
        }
        self.welcomed = true;
        self.failures = 0;
        self.note(ClientEvent::Connected { run: welcome.run });
        self.register_all();
    }

    fn batch_answered(
        &mut self,
        objects: Vec<(Side, Name)>,
        result: Result<AnswerBody, WireError>,
    ) {
        self.unanswered = self.unanswered.saturating_sub(1);
        match result.map(|body| body.read::<BatchDone>()) {
            Ok(Ok(done)) => {
                for ((side, name), registered) in objects.into_iter().zip(done.registered) {
                    self.registered(side, &name, &registered);
                }
            }
            // One of them is at fault: the others shall not be kept out for it.
            _ => {
                for (side, name) in &objects {
                    self.register_one(*side, name);
                }
            }
        }
        self.all_answered();
    }

    fn one_answered(&mut self, side: Side, name: Name, result: Result<AnswerBody, WireError>) {
        self.unanswered = self.unanswered.saturating_sub(1);
        match result.map(|body| body.read::<Registered>()) {
            Ok(Ok(registered)) => self.registered(side, &name, &registered),
            Ok(Err(error)) => tracing::warn!(%error, "an answer cannot be read"),
            Err(error) => {
                tracing::warn!(%side, %name, %error, "the daemon refused");
                self.note(ClientEvent::Refused { side, name, error });
            }
        }
        self.all_answered();
    }

    fn registered(&mut self, side: Side, name: &Name, registered: &Registered) {
        if side == Side::Consumer
            && let Some(consumer) = self.consumers.get_mut(name)
        {
            consumer.slot = registered.slot;
            // No part of a registration.
            if let Some(hint) = consumer.hint() {
                self.ask(&Request::Report(hint));
            }
        }
    }

    fn notice(&mut self, notice: Notice, fds: Vec<OwnedFd>) {
        let fd = fds.into_iter().next();
        match notice {
            Notice::Attach(attach) => self.attach(&attach, fd),
            Notice::Detach(detach) => self.detach(&detach),
            Notice::Switch(switch) => self.switch(&switch, fd),
            Notice::Paired(paired) => self.note(ClientEvent::Paired {
                side: paired.side,
                name: paired.name,
                partner: paired.partner,
                resample: fd,
            }),
            Notice::MaskSource(mask) => self.note(ClientEvent::Masked {
                producer: mask.producer,
                masked: mask.masked,
            }),
            Notice::MessageChanged(changed) => self.note(ClientEvent::Message {
                producer: changed.producer,
                message: MsiMessage {
                    address: changed.message.address,
                    data: changed.message.data,
                },
            }),
            Notice::Hint(hint) => self.note(ClientEvent::Affinity {
                producer: hint.producer,
                processors: hint.affinity,
            }),
            Notice::Closing(closing) => {
                tracing::info!(code = %closing.code, text = closing.text, "the daemon closes");
                let error = WireError::new(closing.code, closing.text);
                self.note(ClientEvent::Rejected { error });
            }
            Notice::Event(_) => {}
        }
    }

    fn attach(&mut self, attach: &Attach, fd: Option<OwnedFd>) {
        let registry = self.registry.clone();
        let attached = match (self.consumers.get_mut(&attach.consumer), fd) {
            (Some(consumer), Some(event)) => consumer.attach(&registry, attach, event),
            _ => Err(declined("the consumer has left, or no eventfd came")),
        };
        self.note(ClientEvent::Bound {
            name: attach.consumer.clone(),
            bound: attached.is_ok(),
        });
        let outcome = match attached {
            Ok(wire::Delivery { state, reason }) => Outcome::Done { state, reason },
            Err(reason) => Outcome::Declined { reason },
        };
        self.reply(attach.instruction, outcome);
    }

    fn detach(&mut self, detach: &Detach) {
        let registry = self.registry.clone();
        if let Some(consumer) = self.consumers.get_mut(&detach.consumer) {
            consumer.detach(&registry);
        }
        self.note(ClientEvent::Bound {
            name: detach.consumer.clone(),
            bound: false,
        });
        self.reply(detach.instruction, done());
    }

    fn switch(&mut self, switch: &Switch, fd: Option<OwnedFd>) {
        let to = match (switch.back, fd.map(Token::of)) {
            (true, _) => Ok(None),
            (false, Some(Ok(to))) => Ok(Some(to)),
            (false, _) => Err(declined("no eventfd came with the instruction")),
        };
        let producer = self.producers.get_mut(&switch.producer);
        let switched = match (producer, to) {
            (_, Err(reason)) => Err(reason),
            (None, _) => Err(declined("the producer has left")),
            (Some(producer), Ok(to)) => producer
                .switch(to)
                .map_err(|error| declined(&error.to_string())),
        };
        let outcome = match switched {
            Ok(()) => done(),
            Err(reason) => Outcome::Declined { reason },
        };
        self.reply(switch.instruction, outcome);
    }

    /// An instruction of a later daemon: its events wait until it is answered.
    fn unread(&mut self, unread: &UnreadInstruction) {
        let notice = &unread.notice;
        tracing::warn!(notice, "an instruction cannot be read");
        let registry = self.registry.clone();
        if !unread.may_be_declined() {
            // Whom it is for cannot be told: none is left with a producer's eventfd.
            let mut left = Vec::new();
            for (name, consumer) in &mut self.consumers {
                if consumer.attached.is_some() {
                    consumer.detach(&registry);
                    left.push(name.clone());
                }
            }
            for name in left {
                self.note(ClientEvent::Bound { name, bound: false });
            }
            self.lose();
            return;
        }
        let mut reason = declined("the client does not know this instruction");
        // To decline one to attach is to be relayed to from now on; any other changes nothing.
        if unread.notice == ATTACH
            && let Some(name) = &unread.consumer
            && let Some(consumer) = self.consumers.get_mut(name)
        {
            reason = consumer.decline(&registry, reason);
            let name = name.clone();
            self.note(ClientEvent::Bound { name, bound: false });
        }
        self.reply(unread.instruction, Outcome::Declined { reason });
    }

    fn reply(&mut self, instruction: InstructionId, outcome: Outcome) {
        self.ask(&Request::Answer(Answer {
            instruction,
            outcome,
        }));
    }
}

/// The name of [`Notice::Attach`].
const ATTACH: &str = "attach";

fn declined(text: &str) -> Reason {
    Reason::new(ReasonCode::Declined, text)
}

fn done() -> Outcome {
    Outcome::Done {
        state: wire::State::Relay,
        reason: Reason::new(ReasonCode::Best, "done"),
    }
}

#[cfg(test)]
mod tests;
