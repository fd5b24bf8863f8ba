//! The relay: user-space forwarding of every link that the kernel does not deliver.
//!
//! One event costs a share of an `epoll_wait`, one read that claims the eventfd's counter, and
//! one injection. The counter is the only record of what is pending; it is claimed under the
//! link's lock and only in state relay, so a link that was masked or promoted between the report
//! and the claim keeps its event.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use crate::delivery::Delivery;
use crate::delivery::DeliveryState;
use crate::delivery::Reason;
use crate::error::ServiceError;
use crate::event::Event;
use crate::ids::LinkId;
use crate::link::Aim;
use crate::link::Link;
use crate::link::Polled;
use crate::poller::Ready;
use crate::poller::Wait;
use crate::poller::claim;
use crate::reentrancy::Callbacks;
use crate::shared::Shared;

/// What one service call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Serviced {
    /// Reports of the epoll set.
    pub events: usize,
    /// Interrupts injected.
    pub injected: usize,
}

/// What became of a report.
enum Forwarded {
    /// No interrupt.
    Nothing,
    /// One interrupt.
    Injected,
    /// One interrupt, and the link waits to be promoted again.
    Recovered,
}

impl Shared {
    pub(crate) fn service(&self, wait: Wait) -> Result<Serviced, ServiceError> {
        let mut done = Serviced::default();
        let mut due = false;
        // Before anything is injected: whoever has seen an interrupt finds its wait counted.
        let returned = || {
            self.counts.waits.fetch_add(1, Ordering::Relaxed);
        };
        let waited = self.poller.wait(wait, returned, |ready| match ready {
            Ready::Kick => due = true,
            Ready::Source(id) => match self.forward(id) {
                Forwarded::Nothing => {}
                Forwarded::Injected => done.injected += 1,
                Forwarded::Recovered => {
                    done.injected += 1;
                    due = true;
                }
            },
            Ready::Resample(id) => self.unmask_after_eoi(id),
        });
        done.events = match waited {
            Ok(events) => events,
            Err(Errno::INTR) => 0,
            Err(source) => return Err(ServiceError { source }),
        };
        if due {
            self.promote_queued();
        }
        Ok(done)
    }

    /// Claims what stands in the link's eventfd and injects one interrupt for it.
    fn forward(&self, id: LinkId) -> Forwarded {
        let Some(mut occupied) = self.table.lock(id) else {
            return Forwarded::Nothing;
        };
        let Some(link) = occupied.body() else {
            return Forwarded::Nothing;
        };
        let (Some(joint), Some(consumer)) = (&mut link.joint, &link.consumer) else {
            return Forwarded::Nothing;
        };
        // A link that posts is fed by the relay unless its producer calls the consumer itself.
        let fed_here = match link.delivery.state {
            DeliveryState::Relay => true,
            DeliveryState::Posted => !joint.attached,
            _ => false,
        };
        if !fed_here {
            // Whoever enters relay puts it back, and what stands in it is reported then: until
            // then one that keeps firing wakes nobody.
            self.poller.disarm(link.token.as_fd());
            joint.polled = Polled::No;
            return Forwarded::Nothing;
        }
        self.counts.claims.fetch_add(1, Ordering::Relaxed);
        let count = claim(link.token.as_fd(), joint.polled);
        if count == 0 {
            return Forwarded::Nothing;
        }
        let counters = link.counters.others();
        counters.claimed = counters.claimed.saturating_add(count);
        let _callbacks = Callbacks::begin();
        self.counts.injections.fetch_add(1, Ordering::Relaxed);
        match consumer.inject() {
            Ok(()) => {
                link.counters.others().relayed += 1;
                if self.recover(id, link) {
                    Forwarded::Recovered
                } else {
                    Forwarded::Injected
                }
            }
            Err(error) => {
                // Said once: a dead VM refuses every one.
                if link.counters.others().inject_failures == 0 {
                    tracing::warn!(link = %id, %error, "injection failed");
                    self.subscribers.tell(Event::InjectFailed { link: id });
                }
                link.counters.others().inject_failures += 1;
                Forwarded::Nothing
            }
        }
    }

    /// Queues a link for promotion if what kept it in relay is gone.
    fn recover(&self, id: LinkId, link: &mut Link) -> bool {
        let (Some(joint), Some(consumer)) = (&mut link.joint, &link.consumer) else {
            return false;
        };
        let Some(refused) = joint.refused else {
            return false;
        };
        let bypass = consumer.bypass();
        if !bypass.is_some_and(|bypass| bypass.has_recovered(refused)) {
            return false;
        }
        joint.refused = None;
        if link.aim() != Some(Aim::Bypass) {
            return false;
        }
        if let Some(joint) = &mut link.joint {
            self.queue(id, &mut joint.queued);
        }
        let pending = Delivery {
            state: DeliveryState::Relay,
            reason: Reason::PromotionPending,
        };
        self.set_delivery(id, link, &pending);
        true
    }

    /// The guest has served a level interrupt: the source may fire again.
    fn unmask_after_eoi(&self, id: LinkId) {
        let Some(mut occupied) = self.table.lock(id) else {
            return;
        };
        let Some(link) = occupied.body() else { return };
        let (Some(joint), Some(producer)) = (&link.joint, &link.producer) else {
            return;
        };
        let Some(resample) = &joint.resample else {
            return;
        };
        self.counts.claims.fetch_add(1, Ordering::Relaxed);
        if claim(resample.as_fd(), Polled::Nonblocking) == 0 {
            return;
        }
        let _callbacks = Callbacks::begin();
        if let Some(mask) = producer.mask_control() {
            self.counts.unmasks.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = mask.unmask() {
                tracing::warn!(link = %id, %error, "source could not be unmasked after eoi");
            }
        }
    }
}
