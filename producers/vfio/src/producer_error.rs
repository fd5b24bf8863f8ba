//! Why a sub-index is no producer, or does not do what its link wants.

use irqbroker_core::TokenError;
use irqbroker_vfio_abi::Errno;

/// Why an eventfd for a sub-index could not be had.
#[derive(Debug, thiserror::Error)]
pub enum EventfdError {
    /// No more fds, or no memory.
    #[error("cannot create an eventfd for {name}")]
    Create {
        /// The sub-index.
        name: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// It could not be identified.
    #[error("cannot identify the eventfd of {name}")]
    Identify {
        /// The sub-index, or the index where it is one of several.
        name: String,
        /// What was wrong.
        #[source]
        source: TokenError,
    },
}

/// Why a producer did not do what a link wanted of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// Its eventfd is not the sub-index's any more.
    #[error("{name} is not bound any more")]
    Retired {
        /// The producer.
        name: String,
    },
    /// The device refused to listen to the guest's EOI.
    #[error("{name} does not take the resample event")]
    Resample {
        /// The producer.
        name: String,
        /// The device's answer; EBUSY says that somebody else has bound one.
        #[source]
        source: Errno,
    },
    /// The device refused to mask.
    #[error("{name} cannot be masked")]
    Mask {
        /// The producer.
        name: String,
        /// The device's answer.
        #[source]
        source: Errno,
    },
    /// The device refused to unmask.
    #[error("{name} cannot be unmasked")]
    Unmask {
        /// The producer.
        name: String,
        /// The device's answer.
        #[source]
        source: Errno,
    },
}
