//! What must never happen.

use crate::table::TableError;
use crate::vcpu::NotLoaded;

/// An invariant that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SimViolation {
    /// A vector was posted and is not there.
    #[error("vector {vector:#x} of vcpu {vcpu} was lost")]
    Lost {
        /// Whose.
        vcpu: u32,
        /// Which.
        vector: u8,
    },
    /// A vector was delivered that nobody had posted.
    #[error("vector {vector:#x} of vcpu {vcpu} was invented")]
    Invented {
        /// Whose.
        vcpu: u32,
        /// Which.
        vector: u8,
    },
    /// A second notification without a drain, or one for a vCPU that is preempted.
    #[error("vcpu {vcpu} was notified once too often")]
    Notified {
        /// Which.
        vcpu: u32,
    },
    /// A post was silent though nobody had been notified.
    #[error("a post to vcpu {vcpu} notified nobody")]
    Silent {
        /// To which.
        vcpu: u32,
    },
    /// A vCPU sleeps though something is outstanding, and no wakeup interrupt will come for it.
    #[error("vcpu {vcpu} sleeps through a notification")]
    Overslept {
        /// Which.
        vcpu: u32,
    },
    /// A notification went to a processor where the vCPU is not, or with the wrong vector.
    #[error("a notification for vcpu {vcpu} went astray to {destination:#x}")]
    Astray {
        /// For which.
        vcpu: u32,
        /// NDST.
        destination: u32,
    },
    /// An interrupt was posted by an entry that should have been dropped from the cache.
    #[error("interrupt of link {link} was posted to vcpu {vcpu} by a stale entry")]
    Stale {
        /// Whose interrupt.
        link: u32,
        /// Where to.
        vcpu: u32,
    },
    /// An entry is there though its device is not.
    #[error("an entry of link {link} remains though its device was taken out")]
    Remains {
        /// Whose.
        link: u32,
    },
    /// An entry posts to a descriptor that is gone.
    #[error("interrupt of link {link} was posted to {address:#x}, where no descriptor is")]
    Freed {
        /// Whose interrupt.
        link: u32,
        /// Where to.
        address: u64,
    },
    /// An entry does not say what its binding says, or is present without one.
    #[error("entry {index} does not say what it should")]
    Entry {
        /// Which.
        index: u16,
    },
    /// The decision is not what the guest meant.
    #[error("the route of link {link} was decided wrongly")]
    Decision {
        /// Whose.
        link: u32,
    },
    /// A processor's list is not that of the vCPUs blocked there.
    #[error("{listed} vcpus listed at processor {processor}, where {blocked} are blocked")]
    Wakeups {
        /// Which.
        processor: u32,
        /// As the list has it.
        listed: usize,
        /// As it is.
        blocked: usize,
    },
    /// The sums do not agree.
    #[error("{posted} interrupts posted, {accounted} accounted for")]
    Sums {
        /// Posted.
        posted: u64,
        /// Delivered, coalesced or discarded with their VM.
        accounted: u64,
    },
    /// A table refused.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A vCPU was not where it should be.
    #[error(transparent)]
    NotLoaded(#[from] NotLoaded),
}
