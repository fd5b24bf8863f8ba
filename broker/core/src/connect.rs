//! Connecting and disconnecting the two sides, in the kernel's order.
//!
//! ```text
//! connect:    stop P, stop C, P.add_consumer, C.add_producer (failed: P.del_consumer),
//!             bind the eventfd, start C, start P
//! disconnect: stop P, stop C, unbind the eventfd, C.del_producer, P.del_consumer,
//!             start C, start P
//! ```

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::delivery::Delivery;
use crate::delivery::DeliveryState;
use crate::delivery::Reason;
use crate::error::LinkError;
use crate::event::Side;
use crate::ids::LinkId;
use crate::info::ConsumerInfo;
use crate::info::Delivers;
use crate::info::ProducerInfo;
use crate::info::Trigger;
use crate::link::Joint;
use crate::link::Link;
use crate::link::Polled;
use crate::peer::BypassRefused;
use crate::peer::PeerError;
use crate::peer::ResampleBinding;
use crate::reentrancy::Callbacks;
use crate::shared::Shared;

/// Which step of a connect failed; everything before it has been taken back.
#[derive(Debug)]
pub(crate) enum ConnectError {
    Refused(PeerError),
    Level(BypassRefused),
    Poll(Errno),
    Link(LinkError),
}

impl Shared {
    /// Connects the link's two sides; does nothing while one is missing.
    pub(crate) fn connect(&self, id: LinkId, link: &mut Link) -> Result<(), ConnectError> {
        let Some((producer, consumer)) = link.sides() else {
            return Ok(());
        };
        let _callbacks = Callbacks::begin();
        let info = producer.info();
        let answer = consumer.answer(&info);
        producer.stop();
        consumer.stop();
        let result = self.join(id, link, &info, &answer);
        start(link);
        result
    }

    fn join(
        &self,
        id: LinkId,
        link: &mut Link,
        info: &ProducerInfo,
        answer: &ConsumerInfo,
    ) -> Result<(), ConnectError> {
        let Some((producer, consumer)) = link.sides() else {
            return Ok(());
        };
        let binding = producer
            .add_consumer(answer)
            .map_err(ConnectError::Refused)?;
        if let Err(refused) = consumer.add_producer(info, &link.token) {
            producer.del_consumer();
            return Err(ConnectError::Refused(refused));
        }
        let resample = match binding {
            ResampleBinding::Producer => None,
            ResampleBinding::Relay => answer.resample.clone(),
        };
        debug_assert!(link.joint.is_none(), "connected twice");
        // In place: there is nothing to be dropped before it is written.
        link.joint
            .get_or_insert_with(|| Joint::new(info, answer.delivers, resample));
        let bound = self
            .arm_level(id, link)
            .and_then(|()| self.settle(id, link).map_err(ConnectError::Link));
        if bound.is_err() {
            self.part(link);
        }
        bound
    }

    /// Takes the two sides apart, because `leaving` is about to go; harmless on a link that is not
    /// connected.
    pub(crate) fn disconnect(&self, id: LinkId, link: &mut Link, leaving: Side) {
        let Some((producer, consumer)) = link.sides() else {
            return;
        };
        let _callbacks = Callbacks::begin();
        producer.stop();
        consumer.stop();
        self.part(link);
        start(link);
        self.set_delivery(id, link, without(leaving));
    }

    /// Undoes what was joined, but for the stop.
    fn part(&self, link: &mut Link) {
        self.unbind(link);
        if let Some((producer, consumer)) = link.sides() {
            consumer.del_producer();
            producer.del_consumer();
        }
    }

    /// A level link keeps a resample irqfd of the consumer's own from here to the disconnect: were
    /// the last resample irqfd of the line gone while the guest serves it, nobody would see the
    /// EOI, and the source would stay masked for good.
    fn arm_level(&self, id: LinkId, link: &mut Link) -> Result<(), ConnectError> {
        let (Some(joint), Some(consumer)) = (&link.joint, &link.consumer) else {
            return Ok(());
        };
        if joint.trigger != Trigger::Level {
            return Ok(());
        }
        if let Some(level) = consumer.level_relay() {
            level.arm().map_err(ConnectError::Level)?;
        }
        if let Some(resample) = &joint.resample {
            self.poller
                .arm_resample(id, resample.as_fd())
                .map_err(ConnectError::Poll)?;
        }
        Ok(())
    }

    /// Frees the eventfd of everything that was bound to it on the link's behalf.
    fn unbind(&self, link: &mut Link) {
        let (Some(joint), Some(consumer)) = (link.joint.take(), &link.consumer) else {
            return;
        };
        if let Some(bypass) = consumer.bypass() {
            if joint.attached
                && let Err(error) = bypass.detach()
            {
                // Only a dead VM refuses, and it takes the irqfd with it.
                tracing::warn!(token = ?link.token, %error, "irqfd could not be taken away");
            }
            bypass.release();
        }
        if joint.attached
            && joint.delivers == Delivers::Posted
            && let Some(direct) = link
                .producer
                .as_ref()
                .and_then(|producer| producer.direct())
        {
            direct.detach();
        }
        if joint.masked_at_source
            && let Some(mask) = link
                .producer
                .as_ref()
                .and_then(|producer| producer.mask_control())
            && let Err(error) = mask.unmask()
        {
            tracing::warn!(token = ?link.token, %error, "source could not be unmasked");
        }
        if joint.polled != Polled::No {
            self.poller.disarm(link.token.as_fd());
        }
        if let Some(resample) = &joint.resample {
            self.poller.disarm(resample.as_fd());
        }
        if joint.trigger == Trigger::Level
            && let Some(level) = consumer.level_relay()
            && let Err(error) = level.disarm()
        {
            tracing::warn!(token = ?link.token, %error, "resample irqfd could not be taken away");
        }
    }
}

fn start(link: &Link) {
    if let Some((producer, consumer)) = link.sides() {
        consumer.start();
        producer.start();
    }
}

/// The delivery of a link that `side` has left; static for the same reason as the one of most links
/// in `settle`.
fn without(side: Side) -> &'static Delivery {
    match side {
        Side::Producer => &Delivery {
            state: DeliveryState::Unmatched,
            reason: Reason::NoProducer,
        },
        Side::Consumer => &Delivery {
            state: DeliveryState::Unmatched,
            reason: Reason::NoConsumer,
        },
    }
}
