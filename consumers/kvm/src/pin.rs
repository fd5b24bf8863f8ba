//! A pin of the VM's interrupt controllers as consumer: level with resample, or edge.

use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker_core::Bypass;
use irqbroker_core::BypassRefused;
use irqbroker_core::Consumer;
use irqbroker_core::ConsumerInfo;
use irqbroker_core::Delivers;
use irqbroker_core::Gsi;
use irqbroker_core::LevelRelay;
use irqbroker_core::PeerError;
use irqbroker_core::Prepared;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Reason;
use irqbroker_core::ResampleEvent;
use irqbroker_core::RouteDomain;
use irqbroker_core::RouteInfo;
use irqbroker_core::Token;
use irqbroker_core::Trigger;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use crate::domain::VmDomain;
use crate::errno::KvmErrno;
use crate::irqfd::Binding;
use crate::irqfd::HeldRoute;
use crate::irqfd::Irqfd;
use crate::misuse::Misuse;
use crate::misuse::ProducerRefused;
use crate::vm_irq::LineLevel;

/// One of the embedder's pins.
///
/// A level interrupt is bypassed through a resample irqfd on the producer's eventfd, and relayed
/// through one on an eventfd of the consumer's own. KVM reports an EOI once for each resample
/// irqfd of the GSI (`irqfd_resampler_ack`), so only the own one reports it on the resample event,
/// and is bound while the line is bypassed too: one signal an EOI, whichever way the line goes.
/// An edge is bypassed through a plain irqfd and relayed through `KVM_IRQ_LINE`.
///
/// Unbinding the last resample irqfd of a GSI lowers its line and forgets the EOI that was to
/// come (`irqfd_resampler_shutdown`): on the way between bypass and relay, begin the one before
/// ending the other.
pub struct PinConsumer {
    name: String,
    domain: Arc<VmDomain>,
    gsi: Gsi,
    resample: ResampleEvent,
    /// What the bypass reports an EOI on: a resample irqfd has to have something, and nobody looks.
    unheard: ResampleEvent,
    /// What [`Consumer::inject`] signals for a level.
    own_trigger: Arc<OwnedFd>,
    /// Held across the ioctls of attach and detach; the domain's table is taken inside.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    producer: Option<(Token, Trigger)>,
    bypass: Option<Irqfd<Token>>,
    /// A level's, on the own trigger: it reports the EOI. There while the pin is bypassed or armed.
    own: Option<Irqfd>,
    armed: bool,
}

impl State {
    /// Unbinds the own irqfd if nothing needs it.
    fn release_own(&mut self) -> Result<(), PeerError> {
        match self.armed || self.bypass.is_some() || self.own.is_none() {
            true => Ok(()),
            false => detach(&mut self.own),
        }
    }
}

/// Why a pin got no consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The GSI was not handed over with the embedder's routes.
    #[error("gsi {gsi} is not the embedder's")]
    NotEmbedders {
        /// The GSI.
        gsi: Gsi,
    },
    /// The eventfds of a level interrupt could not be made.
    #[error("cannot create the resample eventfds of gsi {gsi}")]
    Eventfd {
        /// The GSI.
        gsi: Gsi,
        /// The kernel's answer.
        #[source]
        source: KvmErrno,
    },
}

/// An interrupt could not be raised from user space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot raise gsi {gsi}")]
pub struct RaiseError {
    /// The GSI.
    pub gsi: Gsi,
    /// The kernel's answer.
    #[source]
    pub source: KvmErrno,
}

impl VmDomain {
    /// A consumer for one of the embedder's pins.
    ///
    /// # Errors
    ///
    /// See [`PinError`].
    pub fn pin(
        self: &Arc<Self>,
        name: impl Into<String>,
        gsi: Gsi,
    ) -> Result<Arc<PinConsumer>, PinError> {
        if !self.is_embedders(gsi) {
            return Err(PinError::NotEmbedders { gsi });
        }
        let event = || {
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                .map(Arc::new)
                .map_err(|errno| PinError::Eventfd {
                    gsi,
                    source: errno.into(),
                })
        };
        Ok(Arc::new(PinConsumer {
            name: name.into(),
            domain: Arc::clone(self),
            gsi,
            resample: ResampleEvent::new(event()?),
            unheard: ResampleEvent::new(event()?),
            own_trigger: event()?,
            state: Mutex::default(),
        }))
    }
}

impl PinConsumer {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic inside leaves no half-made change: each field changes by one move.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn obstacle(&self, trigger: Trigger) -> Option<Reason> {
        let capabilities = self.domain.capabilities();
        match trigger {
            Trigger::Edge => capabilities.irqfd_obstacle(),
            Trigger::Level => capabilities.resample_obstacle(),
        }
    }

    fn binding<E>(&self, event: E, resample: Option<&ResampleEvent>) -> Binding<E> {
        Binding {
            route: HeldRoute::Embedder(Arc::clone(&self.domain), self.gsi),
            event,
            resample: resample.cloned(),
        }
    }

    /// Binds the own irqfd, if it is not.
    fn bind_own(&self, state: &mut State) -> Result<(), BypassRefused> {
        if state.own.is_none() {
            let binding = self.binding(Arc::clone(&self.own_trigger), Some(&self.resample));
            state.own = Some(Irqfd::attach(binding).map_err(|(_, error)| error)?);
        }
        Ok(())
    }

    /// The relay has no step to commit in, and needs the pin's route as much as bypass does.
    fn make_live(&self) -> Result<(), BypassRefused> {
        if !self.domain.is_embedder_live() {
            self.domain.commit()?;
        }
        Ok(())
    }

    /// Unbinds the own irqfd if nothing needs it. If the kernel refuses, it is there for the next
    /// that does.
    fn let_go(&self, state: &mut State) {
        if let Err(error) = state.release_own() {
            tracing::warn!(consumer = self.name, %error, "an irqfd stays bound");
        }
    }

    fn raise_edge(&self) -> Result<(), KvmErrno> {
        self.domain.vm().set_line(self.gsi, LineLevel::High)?;
        self.domain.vm().set_line(self.gsi, LineLevel::Low)
    }
}

impl Consumer for PinConsumer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn answer(&self, producer: &ProducerInfo) -> ConsumerInfo {
        let obstacle = self.obstacle(producer.trigger);
        let resamples = producer.trigger == Trigger::Level && obstacle.is_none();
        ConsumerInfo {
            delivers: obstacle.map_or(Delivers::Bypass, Delivers::Relay),
            resample: resamples.then(|| self.resample.clone()),
            device_id: None,
        }
    }

    fn add_producer(&self, producer: &ProducerInfo, token: &Token) -> Result<(), PeerError> {
        let trigger = producer.trigger;
        let unservable = match self.obstacle(trigger) {
            // An edge needs no irqfd for the relay; a level needs one for its EOI.
            Some(Reason::NoIrqfd) if trigger == Trigger::Edge => None,
            obstacle => obstacle,
        };
        if let Some(reason) = unservable {
            return Err(PeerError::new(ProducerRefused::Undeliverable {
                consumer: self.name.clone(),
                reason,
            }));
        }
        self.state().producer = Some((token.clone(), trigger));
        Ok(())
    }

    fn del_producer(&self) {
        let mut state = self.state();
        if state.bypass.is_some() || state.armed {
            tracing::warn!(consumer = self.name, "producer gone while attached");
        }
        *state = State::default();
    }

    fn inject(&self) -> Result<(), PeerError> {
        let raised = |source| {
            PeerError::new(RaiseError {
                gsi: self.gsi,
                source,
            })
        };
        let state = self.state();
        match (&state.producer, state.armed) {
            (None, _) => Err(PeerError::new(Misuse::NoProducer)),
            (Some((_, Trigger::Level)), false) => Err(PeerError::new(Misuse::NotArmed)),
            (Some((_, Trigger::Level)), true) => {
                rustix::io::write(&*self.own_trigger, &1u64.to_ne_bytes())
                    .map(drop)
                    .map_err(|errno| raised(errno.into()))
            }
            (Some((_, Trigger::Edge)), _) => {
                self.make_live().map_err(PeerError::new)?;
                self.raise_edge().map_err(raised)
            }
        }
    }

    fn route(&self) -> Option<RouteInfo> {
        Some(RouteInfo::Pin { gsi: self.gsi })
    }

    fn bypass(&self) -> Option<&dyn Bypass> {
        Some(self)
    }

    fn level_relay(&self) -> Option<&dyn LevelRelay> {
        Some(self)
    }
}

impl Bypass for PinConsumer {
    fn prepare(&self) -> Result<Prepared, BypassRefused> {
        let state = self.state();
        let Some((_, trigger)) = state.producer else {
            return Err(Misuse::NoProducer.into());
        };
        if let Some(reason) = self.obstacle(trigger) {
            return Err(BypassRefused {
                reason,
                source: None,
            });
        }
        Ok(match self.domain.is_embedder_live() {
            true => Prepared::Live,
            false => Prepared::Staged,
        })
    }

    fn domain(&self) -> Arc<dyn RouteDomain> {
        Arc::<VmDomain>::clone(&self.domain)
    }

    fn attach(&self) -> Result<(), BypassRefused> {
        let mut state = self.state();
        let Some((token, trigger)) = state.producer.clone() else {
            return Err(Misuse::NoProducer.into());
        };
        if state.bypass.is_some() {
            return Err(Misuse::Attached { gsi: self.gsi }.into());
        }
        let unheard = match trigger {
            Trigger::Edge => None,
            Trigger::Level => {
                // First: no EOI of the producer's interrupts goes unreported.
                self.bind_own(&mut state)?;
                Some(&self.unheard)
            }
        };
        let bound = Irqfd::attach(self.binding(token, unheard));
        let bound = bound.map(|irqfd| state.bypass = Some(irqfd));
        self.let_go(&mut state);
        bound.map_err(|(_, error)| error.into())
    }

    fn detach(&self) -> Result<(), PeerError> {
        let mut state = self.state();
        detach(&mut state.bypass)?;
        self.let_go(&mut state);
        Ok(())
    }

    /// The pin's route is in every table: there is nothing to give back.
    fn release(&self) {}
}

impl LevelRelay for PinConsumer {
    fn arm(&self) -> Result<(), BypassRefused> {
        let mut state = self.state();
        if state.armed {
            return Err(Misuse::Attached { gsi: self.gsi }.into());
        }
        if let Some(reason) = self.obstacle(Trigger::Level) {
            return Err(BypassRefused {
                reason,
                source: None,
            });
        }
        self.make_live()?;
        self.bind_own(&mut state)?;
        state.armed = true;
        Ok(())
    }

    fn disarm(&self) -> Result<(), PeerError> {
        let mut state = self.state();
        if !state.armed {
            return Err(PeerError::new(Misuse::NotAttached));
        }
        state.armed = false;
        state.release_own().inspect_err(|_| state.armed = true)
    }
}

fn detach<E: AsFd>(place: &mut Option<Irqfd<E>>) -> Result<(), PeerError> {
    let irqfd = place
        .take()
        .ok_or_else(|| PeerError::new(Misuse::NotAttached))?;
    match irqfd.detach() {
        Ok(_unbound) => Ok(()),
        Err((irqfd, error)) => {
            *place = Some(irqfd);
            Err(PeerError::new(error))
        }
    }
}

impl fmt::Debug for PinConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinConsumer")
            .field("name", &self.name)
            .field("gsi", &self.gsi)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
