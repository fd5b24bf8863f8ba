//! An eventfd that is bound to a GSI, and unbound when let go.

use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use irqbroker_core::BypassRefused;
use irqbroker_core::Gsi;
use irqbroker_core::Reason;
use irqbroker_core::ResampleEvent;

use crate::domain::RouteLease;
use crate::domain::VmDomain;
use crate::errno::KvmErrno;

/// An irqfd: the kernel delivers what is written to the eventfd.
///
/// Holds the eventfd, and its route where that is leased: route first, then irqfd, and in reverse
/// on drop. The GSI an eventfd is bound to is known only here, because a deassign with another one
/// is a silent no-op in the kernel.
#[must_use = "dropping the irqfd unbinds the eventfd"]
pub struct Irqfd<E: AsFd = Arc<OwnedFd>> {
    gsi: Gsi,
    /// `None` only between the end of `detach` and drop.
    bound: Option<Binding<E>>,
}

/// What an irqfd is made of.
pub(crate) struct Binding<E> {
    pub(crate) route: HeldRoute,
    pub(crate) event: E,
    pub(crate) resample: Option<ResampleEvent>,
}

/// A GSI that stays routed for as long as this is held.
pub(crate) enum HeldRoute {
    /// A message's.
    Lease(RouteLease),
    /// One of the embedder's, which are in every table.
    Embedder(Arc<VmDomain>, Gsi),
}

impl HeldRoute {
    pub(crate) fn gsi(&self) -> Gsi {
        match self {
            Self::Lease(lease) => lease.gsi(),
            Self::Embedder(_, gsi) => *gsi,
        }
    }

    fn is_live(&self) -> bool {
        match self {
            Self::Lease(lease) => lease.is_live(),
            Self::Embedder(domain, _) => domain.is_embedder_live(),
        }
    }

    fn domain(&self) -> &VmDomain {
        match self {
            Self::Lease(lease) => lease.domain(),
            Self::Embedder(domain, _) => domain,
        }
    }
}

/// Why an eventfd was not bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The kernel does not have the route yet; it would swallow the events.
    #[error("the route of gsi {gsi} is not live")]
    NotLive {
        /// The GSI.
        gsi: Gsi,
    },
    /// The kernel refused.
    #[error("cannot bind an eventfd to gsi {gsi}")]
    Kernel {
        /// The GSI.
        gsi: Gsi,
        /// The kernel's answer; EBUSY says that another irqfd holds the eventfd.
        #[source]
        source: KvmErrno,
    },
}

impl From<AttachError> for BypassRefused {
    fn from(error: AttachError) -> Self {
        Self {
            reason: match error {
                AttachError::NotLive { .. } => Reason::PromotionPending,
                AttachError::Kernel { gsi, source } => Reason::AttachRefused {
                    gsi,
                    errno: source.0,
                },
            },
            source: Some(Box::new(error)),
        }
    }
}

/// The kernel would not unbind an eventfd: the VM is dead, or another process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot unbind the eventfd of gsi {gsi}")]
pub struct DetachError {
    /// The GSI.
    pub gsi: Gsi,
    /// The kernel's answer.
    #[source]
    pub source: KvmErrno,
}

impl<E: AsFd> Irqfd<E> {
    /// Binds, if the route is live. What stands in the eventfd's counter is injected once.
    pub(crate) fn attach(binding: Binding<E>) -> Result<Self, (Binding<E>, AttachError)> {
        match binding.attach() {
            Ok(()) => Ok(Self {
                gsi: binding.route.gsi(),
                bound: Some(binding),
            }),
            Err(error) => Err((binding, error)),
        }
    }

    /// Unbinds and hands back the parts, or the irqfd as it was.
    pub(crate) fn detach(mut self) -> Result<Binding<E>, (Self, DetachError)> {
        let Some(binding) = self.bound.take() else {
            unreachable!("an irqfd is bound until detach or drop consume it");
        };
        match binding.detach() {
            Ok(()) => Ok(binding),
            Err(error) => {
                self.bound = Some(binding);
                Err((self, error))
            }
        }
    }

    /// Unbinds the eventfd, telling how that went, and lets go of the route.
    ///
    /// # Errors
    ///
    /// The kernel refused; the irqfd is handed back as it was.
    pub fn close(self) -> Result<(), (Self, DetachError)> {
        self.detach().map(drop)
    }

    /// The GSI it is bound to.
    #[must_use]
    pub fn gsi(&self) -> Gsi {
        self.gsi
    }
}

impl<E: AsFd> Binding<E> {
    fn attach(&self) -> Result<(), AttachError> {
        let (domain, gsi) = (self.route.domain(), self.route.gsi());
        if !self.route.is_live() {
            return Err(AttachError::NotLive { gsi });
        }
        let event = self.event.as_fd();
        match &self.resample {
            None => domain.vm().assign_irqfd(event, gsi),
            Some(resample) => domain
                .vm()
                .assign_resample_irqfd(event, resample.as_fd(), gsi),
        }
        .map_err(|source| AttachError::Kernel { gsi, source })
    }

    fn detach(&self) -> Result<(), DetachError> {
        let gsi = self.route.gsi();
        self.route
            .domain()
            .vm()
            .deassign_irqfd(self.event.as_fd(), gsi)
            .map_err(|source| DetachError { gsi, source })
    }
}

impl<E: AsFd> Drop for Irqfd<E> {
    fn drop(&mut self) {
        let Some(binding) = self.bound.take() else {
            return;
        };
        if let Err(error) = binding.detach() {
            tracing::warn!(gsi = %error.gsi, error = %error.source, "irqfd left bound");
            if let HeldRoute::Lease(lease) = binding.route {
                lease.keep_for_good();
            }
        }
    }
}

impl<E: AsFd> fmt::Debug for Irqfd<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Irqfd({})", self.gsi)
    }
}
