//! What a guest access or a device's level asks of whoever joins this to eventfds and routes.

use std::fmt;

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use serde::Deserialize;
use serde::Serialize;

/// Which of a function's vectors: entry of the MSI-X table (0-2047) or number of the MSI (0-31).
///
/// VFIO's sub-index. Not [`irqbroker_core::Vector`], which is what a local APIC sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VectorIndex(pub u16);

impl fmt::Display for VectorIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A source of messages in a function: what has an eventfd of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageSource {
    /// A vector of the MSI capability.
    Msi(VectorIndex),
    /// A vector of the MSI-X table.
    Msix(VectorIndex),
}

/// Whether a line is asserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Level {
    /// The device wants to be served.
    Asserted,
    /// It does not.
    Deasserted,
}

/// What becomes of a message-signalled interrupt (MSI or MSI-X).
///
/// A vector is *deliverable* between its `Unmasked` and its `Masked`; the two alternate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageEffect {
    /// The capability as a whole is on, before any vector's `Unmasked`.
    Enabled,
    /// The capability as a whole is off, after every vector's `Masked`.
    Disabled,
    /// Deliverable from now on, and what stands in the vector's source with it.
    Unmasked {
        /// Which one.
        vector: VectorIndex,
        /// What to deliver.
        message: MsiMessage,
    },
    /// No longer deliverable; events stay in the vector's source.
    Masked {
        /// Which one.
        vector: VectorIndex,
    },
    /// Deliverable as before, with another message.
    Retargeted {
        /// Which one.
        vector: VectorIndex,
        /// What to deliver from now on.
        message: MsiMessage,
    },
    /// Restored as pending: the vector's source is to be signalled once, after all `Unmasked`.
    Resignal {
        /// Which one.
        vector: VectorIndex,
    },
}

/// What becomes of a function's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntxEffect {
    /// Neither MSI nor MSI-X is enabled any more: the line delivers.
    Enabled,
    /// MSI or MSI-X has taken over, after the line's `Deassert`.
    Disabled,
    /// Drive the line high.
    Assert {
        /// The interrupt controller's input.
        gsi: Gsi,
    },
    /// Drive the line low.
    Deassert {
        /// The interrupt controller's input.
        gsi: Gsi,
    },
    /// Let an automasked source look at the device again (resample, VFIO unmask). Between the
    /// line's `Disabled` and `Enabled` there may be no source to be told.
    Unmask,
}

/// What becomes of a function's interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// To its MSI.
    Msi(MessageEffect),
    /// To its MSI-X.
    Msix(MessageEffect),
    /// To its line.
    Intx(IntxEffect),
}

impl Effect {
    /// Orders effects of several parts: what ends, what begins, what was pending.
    pub(super) fn phase(&self) -> u8 {
        match self {
            Self::Msi(effect) | Self::Msix(effect) => match effect {
                MessageEffect::Masked { .. } | MessageEffect::Disabled => 0,
                MessageEffect::Enabled
                | MessageEffect::Unmasked { .. }
                | MessageEffect::Retargeted { .. } => 1,
                MessageEffect::Resignal { .. } => 2,
            },
            Self::Intx(IntxEffect::Deassert { .. } | IntxEffect::Disabled) => 0,
            Self::Intx(_) => 1,
        }
    }
}

/// The effect of a vector's going from one message to another, `None` being not deliverable.
pub(super) fn change(
    vector: VectorIndex,
    before: Option<MsiMessage>,
    after: Option<MsiMessage>,
) -> Option<MessageEffect> {
    match (before, after) {
        (None, Some(message)) => Some(MessageEffect::Unmasked { vector, message }),
        (Some(_), None) => Some(MessageEffect::Masked { vector }),
        (Some(before), Some(message)) if before != message => {
            Some(MessageEffect::Retargeted { vector, message })
        }
        (None, None) | (Some(_), Some(_)) => None,
    }
}
