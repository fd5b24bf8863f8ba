//! Irqfds bound and unbound together, with one write of the table.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use irqbroker_core::DeviceId;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;

use crate::domain::CommitError;
use crate::domain::LeaseError;
use crate::domain::RouteLease;
use crate::domain::VmDomain;
use crate::irqfd::AttachError;
use crate::irqfd::Binding;
use crate::irqfd::DetachError;
use crate::irqfd::HeldRoute;
use crate::irqfd::Irqfd;

/// Irqfds to bind and to unbind, for embedders that use KVM without the registry.
///
/// Committed in the order that loses no event: unbind, write the table once (not at all if every
/// route is live), bind. An eventfd may be in both lists, which moves it to another route; what is
/// written to it meanwhile stays in its counter and is injected by the bind. Old and new routes
/// are in the table side by side, so a table that is nearly full takes a move in steps.
///
/// Dropping a transaction lets go of the routes it staged, and unbinds what it was given to
/// unbind.
#[derive(Debug)]
#[must_use = "nothing is bound before the commit"]
pub struct Transaction {
    domain: Arc<VmDomain>,
    arm: Vec<(RouteLease, Arc<OwnedFd>)>,
    disarm: Vec<Irqfd>,
}

/// The step of a transaction that failed.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// An eventfd could not be unbound.
    #[error("the transaction stopped at an unbind")]
    Detach(#[source] DetachError),
    /// The table was refused.
    #[error("the transaction stopped at the table")]
    Commit(#[source] CommitError),
    /// An eventfd could not be bound.
    #[error("the transaction stopped at a bind")]
    Attach(#[source] AttachError),
}

/// A failed transaction, undone.
///
/// Everything that was bound before is bound again, and nothing else is. The routes it had staged
/// are let go; those that were written already leave with the next write.
#[derive(Debug, thiserror::Error)]
#[error("the transaction was undone")]
pub struct RolledBack {
    /// What it stopped at.
    #[source]
    pub error: TransactionError,
    /// The irqfds that were to be unbound, bound as before.
    pub irqfds: Vec<Irqfd>,
    /// Those of them that could not be bound again, and why; their eventfds are handed back.
    pub unrestored: Vec<Unrestored>,
}

/// An eventfd that a rollback could not bind to its old route.
#[derive(Debug)]
pub struct Unrestored {
    /// The GSI it was bound to.
    pub gsi: Gsi,
    /// The eventfd; its events stay in its counter.
    pub event: Arc<OwnedFd>,
    /// Why not.
    pub error: AttachError,
}

impl Transaction {
    pub(crate) fn new(domain: Arc<VmDomain>) -> Self {
        Self {
            domain,
            arm: Vec::new(),
            disarm: Vec::new(),
        }
    }

    /// Makes room for `count` calls of [`arm`](Self::arm).
    pub fn reserve(&mut self, count: usize) {
        self.arm.reserve(count);
        self.domain.reserve(count);
    }

    /// Stages a message as `event`'s route.
    ///
    /// # Errors
    ///
    /// See [`LeaseError`]; what was staged before stays staged.
    pub fn arm(
        &mut self,
        event: Arc<OwnedFd>,
        message: MsiMessage,
        device: Option<DeviceId>,
    ) -> Result<Gsi, LeaseError> {
        let lease = self.domain.lease(message, device)?;
        let gsi = lease.gsi();
        self.arm.push((lease, event));
        Ok(gsi)
    }

    /// Stages an irqfd to be unbound.
    pub fn disarm(&mut self, irqfd: Irqfd) {
        self.disarm.push(irqfd);
    }

    /// Does it all, and returns the new irqfds in the order in which they were staged.
    ///
    /// # Errors
    ///
    /// One step failed; see [`RolledBack`].
    pub fn commit(self) -> Result<Vec<Irqfd>, Box<RolledBack>> {
        let detached = detach_all(self.disarm)?;
        if let Err(error) = self.domain.commit_routes() {
            drop(self.arm);
            return Err(reattach_all(
                TransactionError::Commit(error),
                detached,
                Vec::new(),
            ));
        }
        let mut irqfds = Vec::with_capacity(self.arm.len());
        for (lease, event) in self.arm {
            let binding = Binding {
                route: HeldRoute::Lease(lease),
                event,
                resample: None,
            };
            match Irqfd::attach(binding) {
                Ok(irqfd) => irqfds.push(irqfd),
                Err((_, error)) => {
                    // Unbind the new ones first: a moved eventfd can be bound only once.
                    drop(irqfds);
                    return Err(reattach_all(
                        TransactionError::Attach(error),
                        detached,
                        Vec::new(),
                    ));
                }
            }
        }
        Ok(irqfds)
    }
}

fn detach_all(irqfds: Vec<Irqfd>) -> Result<Vec<Binding<Arc<OwnedFd>>>, Box<RolledBack>> {
    let mut detached = Vec::with_capacity(irqfds.len());
    let mut rest = irqfds.into_iter();
    while let Some(irqfd) = rest.next() {
        match irqfd.detach() {
            Ok(binding) => detached.push(binding),
            Err((irqfd, error)) => {
                let bound = std::iter::once(irqfd).chain(rest).collect();
                return Err(reattach_all(
                    TransactionError::Detach(error),
                    detached,
                    bound,
                ));
            }
        }
    }
    Ok(detached)
}

/// Binds what was unbound again; `bound` are those that still are.
fn reattach_all(
    error: TransactionError,
    detached: Vec<Binding<Arc<OwnedFd>>>,
    bound: Vec<Irqfd>,
) -> Box<RolledBack> {
    let mut irqfds = Vec::with_capacity(detached.len() + bound.len());
    let mut unrestored = Vec::new();
    for binding in detached {
        match Irqfd::attach(binding) {
            Ok(irqfd) => irqfds.push(irqfd),
            Err((binding, error)) => unrestored.push(Unrestored {
                gsi: binding.route.gsi(),
                event: binding.event,
                error,
            }),
        }
    }
    irqfds.extend(bound);
    Box::new(RolledBack {
        error,
        irqfds,
        unrestored,
    })
}

#[cfg(test)]
mod tests;
