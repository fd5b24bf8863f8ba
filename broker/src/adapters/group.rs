//! The vectors of a device, updated one by one and committed together.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use irqbroker_core::DeviceId;
use irqbroker_core::Hold;
use irqbroker_core::LinkError;
use irqbroker_core::MsiMessage;
use irqbroker_core::Registry;
use irqbroker_kvm::VmDomain;

use crate::adapters::route::MessageRoute;
use crate::adapters::route::NewRouteError;
use crate::adapters::route::RouteError;

/// Whether the guest has a vector masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorMask {
    /// Events stay in the eventfd.
    Masked,
    /// Events raise the message.
    Unmasked,
}

/// Whether more updates are to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteCommit {
    /// The last of its batch.
    Now,
    /// Followed by others, and by [`MessageGroup::commit`].
    Later,
}

/// The vectors of a device.
#[derive(Debug)]
pub struct MessageGroup {
    registry: Registry,
    routes: Vec<MessageRoute>,
    /// There between the first update of a batch and its commit.
    hold: Mutex<Option<Hold>>,
}

/// The group has no such vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("vector {index} of {count}")]
pub struct UnknownVector {
    /// What was asked for.
    pub index: usize,
    /// How many there are.
    pub count: usize,
}

/// Why a vector was not updated. It does what it did before.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// There is none.
    #[error("no such vector")]
    Unknown(#[from] UnknownVector),
    /// It could not be enabled.
    #[error("the vector cannot be enabled")]
    Enable(#[from] RouteError),
    /// It could not be disabled.
    #[error("the vector cannot be disabled")]
    Disable(#[from] LinkError),
}

impl MessageGroup {
    /// `count` vectors, all disabled, each with an eventfd of its own.
    ///
    /// # Errors
    ///
    /// See [`NewRouteError`].
    pub fn new(
        registry: &Registry,
        domain: &Arc<VmDomain>,
        name: &str,
        device: Option<DeviceId>,
        count: usize,
    ) -> Result<Self, NewRouteError> {
        let route = |at| MessageRoute::new(registry, domain, format!("{name}.{at}"), device);
        Ok(Self {
            registry: registry.clone(),
            routes: (0..count).map(route).collect::<Result<_, _>>()?,
            hold: Mutex::default(),
        })
    }

    /// How many vectors there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.routes.len()
    }

    /// A vector.
    ///
    /// # Errors
    ///
    /// There is none of this number.
    pub fn vector(&self, index: usize) -> Result<&MessageRoute, UnknownVector> {
        self.routes.get(index).ok_or(UnknownVector {
            index,
            count: self.routes.len(),
        })
    }

    /// The eventfd of a vector.
    #[must_use]
    pub fn notifier(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.routes.get(index).map(MessageRoute::event)
    }

    /// The guest has written a vector's message or mask. All updates of a batch cost one commit
    /// of routes; while one is open, nothing of this registry's is handed to the kernel.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn update(
        &self,
        index: usize,
        message: MsiMessage,
        mask: VectorMask,
        commit: RouteCommit,
    ) -> Result<(), UpdateError> {
        let vector = self.vector(index)?;
        if commit == RouteCommit::Later {
            let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
            hold.get_or_insert_with(|| self.registry.hold_promotions());
        }
        let updated = match mask {
            VectorMask::Masked => vector.disable().map_err(UpdateError::Disable),
            VectorMask::Unmasked => vector.enable(message).map_err(UpdateError::Enable),
        };
        if commit == RouteCommit::Now {
            self.commit();
        }
        updated
    }

    /// Ends a batch.
    pub fn commit(&self) {
        let hold = {
            let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
            hold.take()
        };
        drop(hold);
    }

    /// Disables all vectors; the first that could not be is told.
    ///
    /// # Errors
    ///
    /// The kernel did not let go of an eventfd.
    pub fn disable(&self) -> Result<(), LinkError> {
        let disabled = self.routes.iter().map(MessageRoute::disable);
        disabled.fold(Ok(()), Result::and)
    }
}
