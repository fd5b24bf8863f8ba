//! What is known of a registry's links.

use crate::delivery::Delivery;
use crate::error::LinkError;
use crate::ids::LinkId;
use crate::registry::Registry;
use crate::snapshot::LinkSnapshot;

impl Registry {
    /// Whether an event stands in the link's eventfd that has not been delivered. Drains nothing.
    ///
    /// What stands there while the kernel holds the eventfd has been delivered: it was injected
    /// as the irqfd was assigned.
    ///
    /// # Errors
    ///
    /// See [`LinkError`].
    pub fn is_pending(&self, id: LinkId) -> Result<bool, LinkError> {
        self.change(id, |_, link| {
            if link.joint.as_ref().is_some_and(|joint| joint.attached) {
                return Ok(false);
            }
            let pending = link.token.is_pending();
            pending.map_err(|source| LinkError::Pending { link: id, source })
        })
    }

    /// How the link's interrupts travel.
    ///
    /// # Errors
    ///
    /// The link does not exist.
    pub fn delivery(&self, id: LinkId) -> Result<Delivery, LinkError> {
        self.change(id, |_, link| Ok(link.delivery))
    }

    /// A picture of one link.
    ///
    /// # Errors
    ///
    /// The link does not exist.
    pub fn link(&self, id: LinkId) -> Result<LinkSnapshot, LinkError> {
        self.change(id, |_, link| Ok(LinkSnapshot::of(id, link)))
    }

    /// A picture of all links, each true at the moment it was looked at, by slot.
    #[must_use]
    pub fn snapshot(&self) -> Vec<LinkSnapshot> {
        self.link_ids()
            .filter_map(|id| self.link(id).ok())
            .collect()
    }
}
