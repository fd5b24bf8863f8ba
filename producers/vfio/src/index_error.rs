//! Why sub-indexes could not be bound, rebound, unbound or fired.

use std::ops::Range;

use irqbroker_vfio_abi::Errno;

use crate::producer_error::EventfdError;

/// Why sub-indexes could not be bound. None of them is.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// No sub-index, or more than there are.
    #[error("{name} has {count} sub-indexes, {}..{} was asked for", asked.start, asked.end)]
    Range {
        /// The index.
        name: String,
        /// What was asked for.
        asked: Range<u32>,
        /// How many there are.
        count: u32,
    },
    /// More than are bound at once.
    #[error("{name}: {}..{} is more than {limit}", asked.start, asked.end)]
    TooMany {
        /// The index.
        name: String,
        /// What was asked for.
        asked: Range<u32>,
        /// The most that are bound at once.
        limit: u32,
    },
    /// One has an eventfd already.
    #[error("{name} {sub_index} is bound already")]
    Bound {
        /// The index.
        name: String,
        /// The sub-index.
        sub_index: u32,
    },
    /// The index is enabled already.
    #[error("{name} is enabled already")]
    Enabled {
        /// The index.
        name: String,
    },
    /// The index is not enabled with vectors: it is none of MSI and MSI-X.
    #[error("{name} has no vectors to enable")]
    NoVectors {
        /// The index.
        name: String,
    },
    /// The index keeps the number of vectors it was enabled with.
    #[error("{name} was enabled with {enabled} vectors, {}..{} is beyond; disable it first", asked.start, asked.end)]
    NoResize {
        /// The index.
        name: String,
        /// What was asked for.
        asked: Range<u32>,
        /// What it was enabled with.
        enabled: u32,
    },
    /// A PCI device has one of INTx, MSI and MSI-X enabled at a time.
    #[error("{name} cannot be enabled while {active} is")]
    OtherActive {
        /// The index.
        name: String,
        /// The one that is enabled.
        active: String,
    },
    /// The host has fewer vectors; ask again for as many.
    #[error("{name} was to have {asked} vectors, the host has {available}")]
    Fewer {
        /// The index.
        name: String,
        /// How many it takes to bind what was asked for.
        asked: u32,
        /// How many can be had.
        available: u32,
    },
    /// An eventfd could not be had.
    #[error("no eventfds to bind")]
    Eventfd(#[source] EventfdError),
    /// The device refused.
    #[error("{name} cannot be bound")]
    Refused {
        /// The index.
        name: String,
        /// The device's answer; EINVAL also where somebody else has enabled another index.
        #[source]
        source: Errno,
    },
}

/// Why a sub-index has not got another eventfd.
#[derive(Debug, thiserror::Error)]
pub enum RebindError {
    /// It has none.
    #[error("{name} is not bound")]
    NotBound {
        /// The sub-index.
        name: String,
    },
    /// A consumer is linked to the one it has.
    #[error("{name} is linked; unregister its producer first")]
    Linked {
        /// The sub-index.
        name: String,
    },
    /// A new eventfd could not be had.
    #[error("no eventfd to bind")]
    Eventfd(#[from] EventfdError),
    /// The device refused, and has the old eventfd back.
    #[error("{name} cannot be bound to another eventfd")]
    Refused {
        /// The sub-index.
        name: String,
        /// The device's answer.
        #[source]
        source: Errno,
    },
    /// The device refused, and refused the old one too: nothing is bound now.
    #[error("{name} cannot be bound to another eventfd, and has lost its own ({restore})")]
    Lost {
        /// The sub-index.
        name: String,
        /// The answer to the new eventfd.
        #[source]
        source: Errno,
        /// The answer to the old one.
        restore: Errno,
    },
}

/// Why a sub-index still has its eventfd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnbindError {
    /// It has none.
    #[error("{name} is not bound")]
    NotBound {
        /// The sub-index.
        name: String,
    },
    /// A consumer is linked to it.
    #[error("{name} is linked; unregister its producer first")]
    Linked {
        /// The sub-index.
        name: String,
    },
    /// The device refused.
    #[error("{name} cannot be unbound")]
    Refused {
        /// The sub-index.
        name: String,
        /// The device's answer.
        #[source]
        source: Errno,
    },
}

/// Why an index is still enabled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DisableError {
    /// A consumer is linked to one of its sub-indexes.
    #[error("{name} is linked; unregister its producer first")]
    Linked {
        /// The sub-index.
        name: String,
    },
    /// The device refused.
    #[error("{name} cannot be disabled")]
    Refused {
        /// The index.
        name: String,
        /// The device's answer.
        #[source]
        source: Errno,
    },
}

/// The device did not signal a sub-index on request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} cannot be fired")]
pub struct FireError {
    /// The index.
    pub name: String,
    /// The device's answer.
    #[source]
    pub source: Errno,
}
