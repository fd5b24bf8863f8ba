//! What peers and watchers are told of a change.

use irqbroker_protocol::EventKind;
use irqbroker_protocol::Hint;
use irqbroker_protocol::MaskSource;
use irqbroker_protocol::Masking;
use irqbroker_protocol::Message;
use irqbroker_protocol::MessageChanged;
use irqbroker_protocol::Name;
use irqbroker_protocol::Notice;
use irqbroker_protocol::Paired;
use irqbroker_protocol::Route;
use irqbroker_protocol::Side;
use irqbroker_protocol::Trigger;

use super::effect::Effect;
use super::link::Link;
use super::session::SessionId;
use super::session::State;

impl State {
    /// Tells watchers if the link's interrupts travel another way now.
    pub(crate) fn show(&mut self, link: &mut Link) {
        let to = link.delivery();
        if link.shown != to {
            let from = std::mem::replace(&mut link.shown, to.clone());
            self.event(EventKind::Delivery {
                link: link.id,
                from,
                to,
            });
        }
    }

    /// Tells both sides of a link that they have met.
    pub(crate) fn show_pairing(&mut self, link: &Link) {
        let (Some(producer), Some(consumer)) = (&link.producer, &link.consumer) else {
            return;
        };
        let resample = match producer.request.trigger {
            Trigger::Level => consumer.resample.clone(),
            Trigger::Edge => None,
        };
        let (of_producer, of_consumer) = (producer.owner.session, consumer.owner.session);
        let (producer_name, consumer_name) = (&producer.request.name, &consumer.name);
        self.tell(
            of_producer,
            Notice::Paired(Paired {
                side: Side::Producer,
                name: producer_name.clone(),
                partner: Some(consumer_name.clone()),
                resample: resample.is_some(),
            }),
            resample.into_iter().collect(),
        );
        self.show_partner(
            of_consumer,
            Side::Consumer,
            consumer_name,
            Some(producer_name),
        );
    }

    /// Tells the side that stays that the other is gone.
    pub(crate) fn show_parting(&mut self, link: &Link) {
        if let Some(producer) = &link.producer {
            let name = &producer.request.name;
            self.show_partner(producer.owner.session, Side::Producer, name, None);
        }
        if let Some(consumer) = &link.consumer {
            let name = &consumer.name;
            self.show_partner(consumer.owner.session, Side::Consumer, name, None);
        }
    }

    /// Tells a producer that has a mask whether it is wanted: by its consumer, if there is one. It may
    /// have been told otherwise by an earlier daemon, or for another consumer.
    pub(crate) fn show_mask(&mut self, link: &Link) {
        if let Some(producer) = &link.producer
            && producer.request.masking != Masking::None
        {
            let consumer = link.consumer.as_ref();
            let notice = Notice::MaskSource(MaskSource {
                producer: producer.request.name.clone(),
                masked: consumer.is_some_and(|consumer| consumer.masked),
            });
            self.tell(producer.owner.session, notice, Vec::new());
        }
    }

    /// Tells a producer what its consumer has said while the two were apart: a message other than
    /// the producer's, processors.
    pub(crate) fn show_wishes(&mut self, link: &Link) {
        let (Some(producer), Some(consumer)) = (&link.producer, &link.consumer) else {
            return;
        };
        let known = producer.request.message;
        let wanted = consumer.route.and_then(message);
        let message = wanted.filter(|_| known.is_some() && known != wanted);
        self.pass_on(link, message, &consumer.affinity);
    }

    /// Passes to the producer what it may want to know.
    pub(crate) fn pass_on(&mut self, link: &Link, message: Option<Message>, affinity: &[u32]) {
        let Some(producer) = &link.producer else {
            return;
        };
        let name = || producer.request.name.clone();
        let session = producer.owner.session;
        if let Some(message) = message {
            let producer = name();
            let notice = Notice::MessageChanged(MessageChanged { producer, message });
            self.tell(session, notice, Vec::new());
        }
        if !affinity.is_empty() {
            let notice = Notice::Hint(Hint {
                producer: name(),
                affinity: affinity.to_vec(),
            });
            self.tell(session, notice, Vec::new());
        }
    }

    fn show_partner(
        &mut self,
        session: Option<SessionId>,
        side: Side,
        name: &Name,
        partner: Option<&Name>,
    ) {
        let notice = Notice::Paired(Paired {
            side,
            name: name.clone(),
            partner: partner.cloned(),
            resample: false,
        });
        self.tell(session, notice, Vec::new());
    }

    /// Tells a connection, if there is one.
    pub(crate) fn tell(
        &mut self,
        session: Option<SessionId>,
        notice: Notice,
        fds: Vec<irqbroker::Token>,
    ) {
        if let Some(session) = session {
            self.effects.push(Effect::Tell {
                session,
                notice,
                fds,
            });
        }
    }

    /// Tells whoever watches.
    pub(crate) fn event(&mut self, kind: EventKind) {
        self.effects.push(Effect::Event(kind));
    }
}

/// The message a route is for.
pub(crate) fn message(route: Route) -> Option<Message> {
    match route {
        Route::Msi { address, data, .. } => Some(Message { address, data }),
        Route::Pin { .. } | Route::Other => None,
    }
}
