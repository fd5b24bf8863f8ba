//! A message of the guest as consumer.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker_core::Bypass;
use irqbroker_core::BypassRefused;
use irqbroker_core::Consumer;
use irqbroker_core::ConsumerInfo;
use irqbroker_core::Delivers;
use irqbroker_core::DeviceId;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::PeerError;
use irqbroker_core::Prepared;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Reason;
use irqbroker_core::Retarget;
use irqbroker_core::RouteDomain;
use irqbroker_core::RouteInfo;
use irqbroker_core::Token;
use irqbroker_core::Trigger;

use crate::capabilities::IrqchipMode;
use crate::domain::LeaseError;
use crate::domain::RouteLease;
use crate::domain::VmDomain;
use crate::errno::KvmErrno;
use crate::irqfd::Binding;
use crate::irqfd::DetachError;
use crate::irqfd::HeldRoute;
use crate::irqfd::Irqfd;
use crate::message::MessageRefused;
use crate::misuse::Misuse;
use crate::misuse::ProducerRefused;
use crate::route::MsiRoute;

/// A message of the guest: bypassed through an irqfd on a leased GSI, relayed through
/// `KVM_SIGNAL_MSI` with no GSI at all.
///
/// ```text
///            prepare                attach
///  vacant ─────────────► prepared ─────────► attached
///    ▲      release         │  ▲    detach      │
///    └──────────────────────┘  └────────────────┘
/// ```
pub struct MsiConsumer {
    name: String,
    domain: Arc<VmDomain>,
    /// Held across the ioctls of `attach` and `detach`; the domain's table is taken inside.
    state: Mutex<State>,
}

struct State {
    /// As the guest wrote it, which is what people look for.
    message: MsiMessage,
    /// As the kernel takes it.
    route: MsiRoute,
    token: Option<Token>,
    place: Place,
}

enum Place {
    Vacant,
    Prepared(RouteLease),
    Attached(Irqfd<Token>),
}

/// A message could not be sent from user space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot signal the message {address:#x}/{data:#x}")]
pub struct SignalError {
    /// Its address.
    pub address: u64,
    /// Its data.
    pub data: u32,
    /// The kernel's answer.
    #[source]
    pub source: KvmErrno,
}

impl VmDomain {
    /// A consumer for a message of the guest. Takes no GSI until it is prepared for bypass.
    ///
    /// # Errors
    ///
    /// The kernel would refuse the message.
    pub fn msi(
        self: &Arc<Self>,
        name: impl Into<String>,
        message: MsiMessage,
        device: Option<DeviceId>,
    ) -> Result<Arc<MsiConsumer>, MessageRefused> {
        let route = self.msi_route(message, device)?;
        Ok(Arc::new(MsiConsumer {
            name: name.into(),
            domain: Arc::clone(self),
            state: Mutex::new(State {
                message,
                route,
                token: None,
                place: Place::Vacant,
            }),
        }))
    }
}

impl MsiConsumer {
    /// The GSI leased now.
    #[must_use]
    pub fn gsi(&self) -> Option<Gsi> {
        self.state().gsi()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic inside leaves at worst `Vacant`, whose lease and irqfd were let go on the way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn obstacle(&self, route: &MsiRoute) -> Option<Reason> {
        let capabilities = self.domain.capabilities();
        let refused = || self.domain.check_route(route).err();
        capabilities
            .irqfd_obstacle()
            .or_else(|| refused().map(|error| error.reason()))
    }
}

impl State {
    fn gsi(&self) -> Option<Gsi> {
        match &self.place {
            Place::Vacant => None,
            Place::Prepared(lease) => Some(lease.gsi()),
            Place::Attached(irqfd) => Some(irqfd.gsi()),
        }
    }
}

impl Consumer for MsiConsumer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn answer(&self, _producer: &ProducerInfo) -> ConsumerInfo {
        let route = self.state().route;
        ConsumerInfo {
            delivers: match self.obstacle(&route) {
                None => Delivers::Bypass,
                Some(reason) => Delivers::Relay(reason),
            },
            resample: None,
            device_id: route.device,
        }
    }

    fn add_producer(&self, producer: &ProducerInfo, token: &Token) -> Result<(), PeerError> {
        let consumer = || self.name.clone();
        if producer.trigger == Trigger::Level {
            return Err(PeerError::new(ProducerRefused::Level {
                consumer: consumer(),
            }));
        }
        // KVM_SIGNAL_MSI needs the irqchip too: what a relay claimed would be lost.
        if self.domain.capabilities().irqchip == IrqchipMode::None {
            return Err(PeerError::new(ProducerRefused::Undeliverable {
                consumer: consumer(),
                reason: Reason::NoInKernelIrqchip,
            }));
        }
        self.state().token = Some(token.clone());
        Ok(())
    }

    fn del_producer(&self) {
        let mut state = self.state();
        if let Place::Attached(irqfd) = std::mem::replace(&mut state.place, Place::Vacant) {
            tracing::warn!(consumer = self.name, "producer gone while attached");
            drop(irqfd);
        }
        state.token = None;
    }

    fn inject(&self) -> Result<(), PeerError> {
        let MsiRoute { message, device } = self.state().route;
        match self.domain.vm().signal_msi(message, device) {
            // Blocked is what hardware does to a message the processor does not take.
            Ok(_) => Ok(()),
            Err(source) => Err(PeerError::new(SignalError {
                address: message.address,
                data: message.data,
                source,
            })),
        }
    }

    fn route(&self) -> Option<RouteInfo> {
        let state = self.state();
        Some(RouteInfo::Msi {
            gsi: state.gsi(),
            message: state.message,
        })
    }

    fn bypass(&self) -> Option<&dyn Bypass> {
        Some(self)
    }

    fn retarget(&self) -> Option<&dyn Retarget> {
        Some(self)
    }
}

impl Bypass for MsiConsumer {
    fn prepare(&self) -> Result<Prepared, BypassRefused> {
        let mut state = self.state();
        let refused = |error: LeaseError| BypassRefused {
            reason: error.reason(),
            source: Some(Box::new(error)),
        };
        if let Some(reason) = self.domain.capabilities().irqfd_obstacle() {
            return Err(BypassRefused {
                reason,
                source: None,
            });
        }
        if matches!(state.place, Place::Vacant) {
            let lease = self.domain.lease_route(state.route).map_err(refused)?;
            state.place = Place::Prepared(lease);
        }
        Ok(match &state.place {
            Place::Prepared(lease) if !lease.is_live() => Prepared::Staged,
            _ => Prepared::Live,
        })
    }

    fn domain(&self) -> Arc<dyn RouteDomain> {
        Arc::<VmDomain>::clone(&self.domain)
    }

    fn attach(&self) -> Result<(), BypassRefused> {
        let mut state = self.state();
        let Some(token) = state.token.clone() else {
            return Err(Misuse::NoProducer.into());
        };
        match std::mem::replace(&mut state.place, Place::Vacant) {
            Place::Vacant => Err(Misuse::NotPrepared.into()),
            Place::Attached(irqfd) => {
                let gsi = irqfd.gsi();
                state.place = Place::Attached(irqfd);
                Err(Misuse::Attached { gsi }.into())
            }
            Place::Prepared(lease) => {
                let binding = Binding {
                    route: HeldRoute::Lease(lease),
                    event: token,
                    resample: None,
                };
                let (place, result) = match Irqfd::attach(binding) {
                    Ok(irqfd) => (Place::Attached(irqfd), Ok(())),
                    Err((binding, error)) => (binding.into(), Err(error.into())),
                };
                state.place = place;
                result
            }
        }
    }

    fn detach(&self) -> Result<(), PeerError> {
        let mut state = self.state();
        match std::mem::replace(&mut state.place, Place::Vacant) {
            Place::Attached(irqfd) => {
                let (place, result): (Place, Result<(), DetachError>) = match irqfd.detach() {
                    Ok(binding) => (binding.into(), Ok(())),
                    Err((irqfd, error)) => (Place::Attached(irqfd), Err(error)),
                };
                state.place = place;
                result.map_err(PeerError::new)
            }
            place => {
                state.place = place;
                Err(PeerError::new(Misuse::NotAttached))
            }
        }
    }

    fn release(&self) {
        let mut state = self.state();
        match &state.place {
            Place::Attached(irqfd) => {
                tracing::warn!(consumer = self.name, gsi = %irqfd.gsi(), "not released: attached");
            }
            _ => state.place = Place::Vacant,
        }
    }
}

impl Retarget for MsiConsumer {
    fn set_message(&self, message: MsiMessage) -> Result<(), PeerError> {
        let mut state = self.state();
        if let Place::Attached(irqfd) = &state.place {
            return Err(PeerError::new(Misuse::Attached { gsi: irqfd.gsi() }));
        }
        let route = self
            .domain
            .msi_route(message, state.route.device)
            .map_err(PeerError::new)?;
        state.message = message;
        if route != state.route {
            state.route = route;
            state.place = Place::Vacant;
        }
        Ok(())
    }
}

impl From<Binding<Token>> for Place {
    fn from(binding: Binding<Token>) -> Self {
        match binding.route {
            HeldRoute::Lease(lease) => Self::Prepared(lease),
            HeldRoute::Embedder(..) => Self::Vacant,
        }
    }
}

impl fmt::Debug for MsiConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("MsiConsumer")
            .field("name", &self.name)
            .field("message", &state.message)
            .field("gsi", &state.gsi())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
