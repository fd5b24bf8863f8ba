//! A consumer of this process: bound to its own eventfd, or to the producer's.
//!
//! Bound means: a link of the registry in this process, which finds the best way there is. While a
//! consumer is bound to its own eventfd the daemon relays into that; while it is bound to the
//! producer's the daemon is out of the path, and may die.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use irqbroker_core::Consumer;
use irqbroker_core::ConsumerHandle;
use irqbroker_core::Delivers;
use irqbroker_core::Delivery;
use irqbroker_core::DeliveryState;
use irqbroker_core::HostIrq;
use irqbroker_core::Masking;
use irqbroker_core::ProducerHandle;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Reason;
use irqbroker_core::RegisterError;
use irqbroker_core::Registry;
use irqbroker_core::ResampleEvent;
use irqbroker_core::Rid;
use irqbroker_core::Token;
use irqbroker_core::Trigger;
use irqbroker_protocol as wire;
use irqbroker_protocol::Attach;
use irqbroker_protocol::ConsumerReport;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::Name;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::RegisterConsumer;

use super::event_fd::move_events;
use super::event_fd::signal;
use super::event_fd::take;
use super::producer::RemoteProducer;
use super::reason;

/// A consumer of this process.
#[derive(Debug)]
pub(super) struct OwnConsumer {
    pub(super) name: Name,
    pub(super) link: Option<Name>,
    pub(super) own: Token,
    pub(super) consumer: Arc<dyn Consumer>,
    pub(super) resample: Option<ResampleEvent>,
    /// The producer's eventfd, while it is bound to that.
    pub(super) attached: Option<Token>,
    pub(super) masked: bool,
    /// Host processors on which the producer's interrupt is best handled.
    pub(super) affinity: Vec<u32>,
    /// Its place in the claim record.
    pub(super) slot: Option<u32>,
    /// An interrupt may be in service from now on: events have been anybody's to deliver.
    delivers: bool,
    /// The link in this process. In this order they are taken apart.
    bound: Option<(ConsumerHandle, ProducerHandle)>,
}

impl OwnConsumer {
    /// Binds `consumer` to its own eventfd.
    ///
    /// # Errors
    ///
    /// The registry refused.
    pub(super) fn new(
        registry: &Registry,
        (name, link): (Name, Option<Name>),
        own: Token,
        consumer: Arc<dyn Consumer>,
    ) -> Result<Self, RegisterError> {
        // What it would need of a level producer; an edge one ignores it.
        let resample = consumer.answer(&ProducerInfo::automasked_level()).resample;
        let mut new = Self {
            name,
            link,
            own,
            consumer,
            resample,
            attached: None,
            masked: false,
            affinity: Vec::new(),
            slot: None,
            delivers: false,
            bound: None,
        };
        let own = new.own.clone();
        new.bind(registry, own, new.relayed())?;
        Ok(new)
    }

    /// The request that registers it as it stands.
    pub(super) fn request(&self) -> RegisterConsumer {
        RegisterConsumer {
            name: self.name.clone(),
            link: self.link.clone(),
            event_id: Some(self.own.id().0),
            takes: ConsumerTakes::Attach,
            route: self.consumer.route().map(reason::route),
            resample: self.resample.is_some(),
            attached: self.attached.is_some(),
            masked: self.masked,
            slot: self.slot,
        }
    }

    /// How it stands, for the daemon.
    pub(super) fn report(&self) -> ConsumerReport {
        let delivery = self.delivery().and_then(reason::delivery);
        let (state, reason) = match delivery.filter(|_| self.attached.is_some()) {
            Some(wire::Delivery { state, reason }) => (Some(state), Some(reason)),
            None => (None, None),
        };
        ConsumerReport {
            name: self.name.clone(),
            masked: Some(self.masked),
            state,
            reason,
            route: self.consumer.route().map(reason::route),
            affinity: None,
        }
    }

    /// The same with the hint, if one was given.
    pub(super) fn hint(&self) -> Option<ConsumerReport> {
        (!self.affinity.is_empty()).then(|| ConsumerReport {
            affinity: Some(self.affinity.clone()),
            ..self.report()
        })
    }

    /// The handle of the link in this process.
    pub(super) fn handle(&self) -> Option<&ConsumerHandle> {
        self.bound.as_ref().map(|(consumer, _)| consumer)
    }

    /// How the link in this process delivers.
    pub(super) fn delivery(&self) -> Option<Delivery> {
        self.handle()?.delivery().ok()
    }

    /// Leaves its own eventfd, or another producer's, for this producer's. Nobody else claims what
    /// stands in that until the answer.
    ///
    /// # Errors
    ///
    /// Why not; it is bound to its own eventfd then.
    pub(super) fn attach(
        &mut self,
        registry: &Registry,
        attach: &Attach,
        event: OwnedFd,
    ) -> Result<wire::Delivery, wire::Reason> {
        let producer = RemoteProducer {
            name: attach.producer.to_string(),
            info: info(attach),
        };
        if let Delivers::Relay(why) = self.consumer.answer(&producer.info).delivers {
            return Err(self.decline(registry, reason::reason(why)));
        }
        let Ok(event) = Token::adopt(event) else {
            let text = "what came with the instruction is no eventfd";
            return Err(self.decline(registry, wire::Reason::new(ReasonCode::Declined, text)));
        };
        self.unbind();
        // Events the daemon has relayed and nobody has taken yet: the new eventfd delivers them, or
        // keeps them where the consumer is masked.
        move_events(&self.own, &event);
        let bound = self.bind(registry, event.clone(), producer);
        let refused = match (bound, self.delivery()) {
            (Ok(()), Some(delivery)) if delivery.state == DeliveryState::Relay => {
                declines(delivery.reason).then(|| reason::reason(delivery.reason))
            }
            (Ok(()), _) => None,
            (Err(_), _) => Some(reason::reason(Reason::ConnectRefused)),
        };
        if let Some(refused) = refused {
            self.detach(registry);
            return Err(refused);
        }
        self.attached = Some(event);
        self.make_up_for_eoi();
        let delivery = self.delivery().and_then(reason::delivery);
        Ok(delivery.unwrap_or_else(|| wire::Delivery {
            state: wire::State::Bypass,
            reason: reason::reason(Reason::Best),
        }))
    }

    /// Stays with its own eventfd, or takes it again: the relay brings events from now on.
    pub(super) fn decline(&mut self, registry: &Registry, why: wire::Reason) -> wire::Reason {
        match self.attached {
            Some(_) => self.detach(registry),
            None => self.delivers = true,
        }
        why
    }

    /// Takes its own eventfd again. What stands in the producer's stays there.
    pub(super) fn detach(&mut self, registry: &Registry) {
        self.unbind();
        self.attached = None;
        let own = self.own.clone();
        let relayed = self.relayed();
        if let Err(error) = self.bind(registry, own, relayed) {
            tracing::error!(consumer = %self.name, %error, "own eventfd could not be taken again");
        }
        self.make_up_for_eoi();
    }

    /// With the last resample irqfd of a line the kernel forgets the EOI that was to come
    /// (`irqfd_resampler_shutdown`), and its source would stay masked for good. One unmask too many
    /// does no harm: a line that is still asserted fires again, another does not.
    fn make_up_for_eoi(&mut self) {
        if std::mem::replace(&mut self.delivers, true)
            && let Some(resample) = &self.resample
        {
            signal(resample);
        }
    }

    fn unbind(&mut self) {
        if let Some((consumer, producer)) = self.bound.take() {
            drop(consumer);
            drop(producer);
        }
    }

    fn bind(
        &mut self,
        registry: &Registry,
        event: Token,
        producer: RemoteProducer,
    ) -> Result<(), RegisterError> {
        // The consumer first: masked before its producer comes, it sees none of the events.
        let consumer = registry.register_consumer(event.clone(), Arc::clone(&self.consumer))?;
        if self.masked
            && let Err(error) = consumer.mask()
        {
            tracing::warn!(consumer = %self.name, %error, "a mask was lost");
        }
        let producer = registry.register_producer(event.clone(), Arc::new(producer))?;
        let delivery = consumer.delivery();
        if delivery.is_ok_and(|delivery| delivery.state == DeliveryState::Bypass) {
            // What stood here was injected as the irqfd was assigned, and is left standing; what
            // comes from now on is the kernel's before anybody can read it.
            let _injected = take(event.as_fd());
        }
        self.bound = Some((consumer, producer));
        Ok(())
    }

    /// The producer that the daemon's relay is, as the registry sees it.
    fn relayed(&self) -> RemoteProducer {
        let level = self.resample.is_some();
        RemoteProducer {
            name: format!("daemon:{}", self.name),
            info: match level {
                true => ProducerInfo::automasked_level(),
                false => ProducerInfo::edge(),
            },
        }
    }
}

/// Whether the daemon should rather relay than this process.
fn declines(why: Reason) -> bool {
    !matches!(why, Reason::PromotionPending | Reason::Held)
}

fn info(attach: &Attach) -> ProducerInfo {
    ProducerInfo {
        trigger: match attach.trigger {
            wire::Trigger::Edge => Trigger::Edge,
            wire::Trigger::Level => Trigger::Level,
        },
        automasked: attach.automasked,
        // Its mask is another process's.
        masking: Masking::None,
        source_id: attach.source_id.map(Rid),
        host_irq: attach.host_irq.map(HostIrq),
        message: None,
    }
}

#[cfg(test)]
#[cfg(feature = "kvm")]
mod tests;
