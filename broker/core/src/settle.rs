//! Bringing a link to where it aims, and to the next best place if the kernel refuses.
//!
//! ```text
//!             mask                     promote (route live, irqfd assigned)
//!   Masked ◄───────── Relay ◄──────────────────────────────► Bypass
//!      ▲   unmask ──►        demote, retarget, kernel refuses   │
//!      └────────────────────────────────────────────────────────┘ mask (irqfd taken away, or
//!                                                                  at the source: nothing moves)
//! ```
//!
//! A link that posts goes between Masked and Posted the same way; posting takes no route, so nothing
//! is deferred.
//!
//! An eventfd that nobody takes from keeps what comes in its counter, so every change takes the
//! old taker away before the new one comes, and nothing is lost or doubled between.

use std::os::fd::AsFd;
use std::sync::Arc;

use crate::delivery::Delivery;
use crate::delivery::DeliveryState;
use crate::delivery::Reason;
use crate::error::LinkError;
use crate::ids::LinkId;
use crate::info::Delivers;
use crate::info::MsiMessage;
use crate::link::Aim;
use crate::link::Link;
use crate::link::Polled;
use crate::peer::Prepared;
use crate::poller::claim;
use crate::reentrancy::Callbacks;
use crate::shared::Promotion;
use crate::shared::Shared;

/// Where most links are. Copied from here and not put together on the stack, where reading it whole
/// would wait for the writes of its parts.
static BYPASS: Delivery = Delivery {
    state: DeliveryState::Bypass,
    reason: Reason::Best,
};

/// How a bypass attempt ended.
enum Attempt {
    Done,
    /// Not now or not at all; the relay delivers for this reason.
    Relay(Reason),
    /// A hold keeps it back; nothing delivers until the hold ends.
    Held,
}

impl Shared {
    /// Brings the link to where it aims.
    pub(crate) fn settle(&self, id: LinkId, link: &mut Link) -> Result<(), LinkError> {
        self.settle_when(id, link, |shared, id, link| shared.defer(id, link))
    }

    /// The same, without waiting for a promotion to come.
    pub(crate) fn settle_now(&self, id: LinkId, link: &mut Link) -> Result<(), LinkError> {
        self.settle_when(id, link, |_, _, _| None)
    }

    fn settle_when(
        &self,
        id: LinkId,
        link: &mut Link,
        defer: impl FnOnce(&Self, LinkId, &mut Link) -> Option<Attempt>,
    ) -> Result<(), LinkError> {
        let (state, reason) = match link.aim() {
            None => return Ok(()),
            Some(Aim::Masked) => {
                self.enter_masked(id, link)?;
                (DeliveryState::Masked, Reason::Masked)
            }
            Some(Aim::Relay(reason)) => {
                self.enter_relay(id, link)?;
                (DeliveryState::Relay, reason)
            }
            Some(Aim::Bypass) => match self.enter_bypass(id, link, defer)? {
                Attempt::Done => {
                    self.set_delivery(id, link, &BYPASS);
                    return Ok(());
                }
                Attempt::Relay(reason) => {
                    self.enter_relay(id, link)?;
                    (DeliveryState::Relay, reason)
                }
                Attempt::Held => match self.options.promotion {
                    Promotion::Immediate => (DeliveryState::Relay, Reason::Held),
                    // Its end promotes nothing: the service loop does.
                    Promotion::Deferred => (DeliveryState::Relay, Reason::PromotionPending),
                },
            },
            Some(Aim::Posted) => (DeliveryState::Posted, self.enter_posted(id, link)?),
        };
        self.set_delivery(id, link, &Delivery { state, reason });
        Ok(())
    }

    fn enter_masked(&self, id: LinkId, link: &mut Link) -> Result<(), LinkError> {
        let Some(joint) = &mut link.joint else {
            return Ok(());
        };
        if joint.masks_at_source() {
            if !joint.masked_at_source
                && let Some(mask) = link
                    .producer
                    .as_ref()
                    .and_then(|producer| producer.mask_control())
            {
                mask.mask()
                    .map_err(|source| LinkError::Mask { link: id, source })?;
                joint.masked_at_source = true;
            }
            return Ok(());
        }
        self.detach(id, link)
    }

    fn enter_relay(&self, id: LinkId, link: &mut Link) -> Result<(), LinkError> {
        let Some(joint) = &mut link.joint else {
            return Ok(());
        };
        // First, since it can fail. A report that comes of it waits for this link's lock, and
        // finds the link in relay.
        joint.polled = self
            .poller
            .arm(id, link.token.as_fd(), joint.polled)
            .map_err(|source| LinkError::Poll { link: id, source })?;
        joint.fed = true;
        if joint.attached {
            self.detach(id, link)?;
            link.counters.others().demotions += 1;
        }
        self.unmask_source(id, link)
    }

    fn enter_bypass(
        &self,
        id: LinkId,
        link: &mut Link,
        defer: impl FnOnce(&Self, LinkId, &mut Link) -> Option<Attempt>,
    ) -> Result<Attempt, LinkError> {
        let attached = link.joint.as_ref().is_some_and(|joint| joint.attached);
        if !attached {
            if let Some(later) = defer(self, id, link) {
                return Ok(later);
            }
            if let Err(reason) = attach(link) {
                if let Some(joint) = &mut link.joint {
                    joint.refused = Some(reason);
                }
                return Ok(Attempt::Relay(reason));
            }
            link.counters.promotions += 1;
        }
        self.unmask_source(id, link)?;
        Ok(Attempt::Done)
    }

    /// Has the producer call the consumer where it can, and the relay do it where it cannot.
    fn enter_posted(&self, id: LinkId, link: &mut Link) -> Result<Reason, LinkError> {
        let (Some(joint), Some(producer), Some(consumer)) =
            (&mut link.joint, &link.producer, &link.consumer)
        else {
            return Ok(Reason::NoProducer);
        };
        let Some(direct) = producer.direct() else {
            self.enter_relay(id, link)?;
            return Ok(Reason::EventfdFed);
        };
        if !joint.attached {
            direct.attach(Arc::clone(consumer));
            joint.attached = true;
            joint.fed = false;
            link.counters.promotions += 1;
            // What came before stands in the counter, and nobody else takes it from there any more.
            if claim(link.token.as_fd(), Polled::Blocking) > 0
                && let Err(error) = consumer.inject()
            {
                tracing::warn!(link = %id, %error, "injection failed");
                link.counters.others().inject_failures += 1;
            }
        }
        self.unmask_source(id, link)?;
        Ok(Reason::Best)
    }

    /// Leaves the promotion to the service loop or to the end of a hold, if one of them is to do
    /// it.
    fn defer(&self, id: LinkId, link: &mut Link) -> Option<Attempt> {
        let joint = link.joint.as_mut()?;
        let held = self.enqueue(id, &mut joint.queued)?;
        Some(if held {
            Attempt::Held
        } else {
            Attempt::Relay(Reason::PromotionPending)
        })
    }

    fn detach(&self, id: LinkId, link: &mut Link) -> Result<(), LinkError> {
        let (Some(joint), Some(consumer)) = (&mut link.joint, &link.consumer) else {
            return Ok(());
        };
        if joint.attached && joint.delivers == Delivers::Posted {
            if let Some(direct) = link
                .producer
                .as_ref()
                .and_then(|producer| producer.direct())
            {
                direct.detach();
            }
            joint.attached = false;
        }
        if joint.attached
            && let Some(bypass) = consumer.bypass()
        {
            bypass
                .detach()
                .map_err(|source| LinkError::Detach { link: id, source })?;
            joint.attached = false;
        }
        joint.fed = true;
        Ok(())
    }

    fn unmask_source(&self, id: LinkId, link: &mut Link) -> Result<(), LinkError> {
        let Some(joint) = &mut link.joint else {
            return Ok(());
        };
        if joint.masked_at_source
            && let Some(mask) = link
                .producer
                .as_ref()
                .and_then(|producer| producer.mask_control())
        {
            mask.unmask()
                .map_err(|source| LinkError::Mask { link: id, source })?;
            joint.masked_at_source = false;
        }
        Ok(())
    }

    /// Gives the consumer another message. What comes meanwhile waits in the eventfd.
    pub(crate) fn retarget(
        &self,
        id: LinkId,
        link: &mut Link,
        message: MsiMessage,
    ) -> Result<(), LinkError> {
        let _callbacks = Callbacks::begin();
        let consumer = link
            .consumer
            .clone()
            .ok_or(LinkError::NoMessage { link: id })?;
        let retarget = consumer
            .retarget()
            .ok_or(LinkError::NoMessage { link: id })?;
        // A consumer that posts changes an entry under way; nothing has to wait for it.
        let posts = link
            .joint
            .as_ref()
            .is_some_and(|joint| joint.delivers == Delivers::Posted);
        if !posts {
            self.detach(id, link)?;
        }
        let changed = retarget
            .set_message(message)
            .map_err(|source| LinkError::Message { link: id, source });
        if changed.is_ok() {
            self.ask_again(id, link)?;
        }
        // Also after a refusal: the irqfd goes back to where it was.
        let settled = if changed.is_ok() {
            self.settle(id, link)
        } else {
            self.settle_now(id, link)
        };
        changed.and(settled)
    }

    /// The consumer has another message, which it may have to deliver in another way.
    fn ask_again(&self, id: LinkId, link: &mut Link) -> Result<(), LinkError> {
        let (Some(joint), Some(producer), Some(consumer)) =
            (&mut link.joint, &link.producer, &link.consumer)
        else {
            return Ok(());
        };
        let delivers = consumer.answer(&producer.info()).delivers;
        joint.refused = None;
        // Whoever calls past the eventfd stops before the relay takes over.
        if joint.attached && joint.delivers != delivers {
            self.detach(id, link)?;
            link.counters.others().demotions += 1;
        }
        if let Some(joint) = &mut link.joint {
            joint.delivers = delivers;
        }
        Ok(())
    }
}

/// Hands the eventfd to the kernel: route staged, committed, irqfd assigned.
fn attach(link: &mut Link) -> Result<(), Reason> {
    let (Some(joint), Some(consumer)) = (&mut link.joint, &link.consumer) else {
        return Err(Reason::NoConsumer);
    };
    let bypass = consumer.bypass().ok_or(Reason::UserSpaceConsumer)?;
    let live = match bypass.prepare() {
        Ok(Prepared::Live) => Ok(()),
        Ok(Prepared::Staged) => bypass.domain().commit().map(|_| ()),
        Err(refused) => return Err(refused.reason),
    };
    if let Err(refused) = live.and_then(|()| bypass.attach()) {
        tracing::warn!(token = ?link.token, error = %refused, "stays in relay");
        bypass.release();
        return Err(refused.reason);
    }
    joint.attached = true;
    if std::mem::take(&mut joint.fed) {
        // The kernel has injected what stood here and left it standing. Nothing undelivered can
        // be swallowed: what comes from now on is the kernel's before anybody can read it.
        claim(link.token.as_fd(), Polled::Blocking);
    }
    Ok(())
}
