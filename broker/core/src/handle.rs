//! What holds a side in its registry.

use std::fmt;

use crate::delivery::Delivery;
use crate::error::LinkError;
use crate::event::Side;
use crate::ids::LinkId;
use crate::info::MsiMessage;
use crate::registry::Registry;

/// Holds a producer in its registry; dropping it unregisters the producer.
#[must_use = "dropping it unregisters the producer"]
pub struct ProducerHandle {
    registry: Registry,
    link: LinkId,
}

/// Holds a consumer in its registry; dropping it unregisters the consumer.
#[must_use = "dropping it unregisters the consumer"]
pub struct ConsumerHandle {
    registry: Registry,
    link: LinkId,
}

impl ProducerHandle {
    pub(crate) fn new(registry: Registry, link: LinkId) -> Self {
        Self { registry, link }
    }

    /// The link the producer belongs to, whether matched or not.
    #[must_use]
    pub fn link(&self) -> LinkId {
        self.link
    }
}

impl ConsumerHandle {
    pub(crate) fn new(registry: Registry, link: LinkId) -> Self {
        Self { registry, link }
    }

    /// The link the consumer belongs to, whether matched or not.
    #[must_use]
    pub fn link(&self) -> LinkId {
        self.link
    }

    /// See [`Registry::mask`].
    ///
    /// # Errors
    ///
    /// See [`LinkError`].
    pub fn mask(&self) -> Result<(), LinkError> {
        self.registry.mask(self.link)
    }

    /// See [`Registry::unmask`].
    ///
    /// # Errors
    ///
    /// See [`LinkError`].
    pub fn unmask(&self) -> Result<(), LinkError> {
        self.registry.unmask(self.link)
    }

    /// See [`Registry::update_route`].
    ///
    /// # Errors
    ///
    /// See [`LinkError`].
    pub fn update_route(&self, message: MsiMessage) -> Result<(), LinkError> {
        self.registry.update_route(self.link, message)
    }

    /// See [`Registry::delivery`].
    ///
    /// # Errors
    ///
    /// See [`LinkError`].
    pub fn delivery(&self) -> Result<Delivery, LinkError> {
        self.registry.delivery(self.link)
    }
}

impl Drop for ProducerHandle {
    fn drop(&mut self) {
        self.registry.unregister(self.link, Side::Producer);
    }
}

impl Drop for ConsumerHandle {
    fn drop(&mut self) {
        self.registry.unregister(self.link, Side::Consumer);
    }
}

impl fmt::Debug for ProducerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProducerHandle({})", self.link)
    }
}

impl fmt::Debug for ConsumerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConsumerHandle({})", self.link)
    }
}
