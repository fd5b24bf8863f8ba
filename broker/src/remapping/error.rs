//! What can go wrong behind a guest's remapping unit.

use irqbroker_core::LinkError;
use irqbroker_core::LinkId;
use posted_irq::WideDestination;

/// The guest's tables lead where no message of this VM's leads. The interrupt is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undeliverable {
    /// To a local APIC whose id needs more bits than the VM's messages have.
    #[error("the entry leads beyond the vm's messages")]
    Destination(#[source] WideDestination),
    /// Into a descriptor or a backing page of the guest's, which it was not offered.
    #[error("the entry posts into guest memory")]
    GuestDescriptor,
}

/// A link could not be taken off the kernel, which may still deliver by what the guest has
/// invalidated. All others have been; it is for `Registry::demote` to try again.
#[derive(Debug, thiserror::Error)]
#[error("link {link} keeps an invalidated translation")]
pub struct InvalidateError {
    /// The link; the first of them, if there are several.
    pub link: LinkId,
    /// What failed.
    #[source]
    pub source: LinkError,
}
