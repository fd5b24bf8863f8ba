//! Producers that cannot be served, and calls that came in the wrong order.

use irqbroker_core::BypassRefused;
use irqbroker_core::Gsi;
use irqbroker_core::Reason;

use crate::errno::KvmErrno;

/// A call that does not fit the state its consumer is in; the state is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// No producer was added, so there is no eventfd.
    #[error("no producer was added")]
    NoProducer,
    /// No route was taken.
    #[error("no route was prepared")]
    NotPrepared,
    /// The eventfd is bound.
    #[error("the eventfd is bound to gsi {gsi}")]
    Attached {
        /// Where.
        gsi: Gsi,
    },
    /// The eventfd is not bound.
    #[error("the eventfd is not bound")]
    NotAttached,
    /// A level consumer's own trigger is not bound, so nothing would carry the interrupt.
    #[error("the level relay is not armed")]
    NotArmed,
}

/// A producer whose interrupts a consumer cannot take, not even from user space.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerRefused {
    /// A level producer for a message, which has no EOI to unmask it by.
    #[error("{consumer} takes edges only")]
    Level {
        /// The consumer's name.
        consumer: String,
    },
    /// The VM lacks what it takes.
    #[error("{consumer} cannot deliver: {reason}")]
    Undeliverable {
        /// The consumer's name.
        consumer: String,
        /// What the VM lacks.
        reason: Reason,
    },
}

impl From<Misuse> for BypassRefused {
    fn from(misuse: Misuse) -> Self {
        Self {
            reason: match misuse {
                Misuse::NoProducer => Reason::NoProducer,
                // What the kernel would say.
                Misuse::Attached { gsi } => Reason::AttachRefused {
                    gsi,
                    errno: KvmErrno::BUSY.0,
                },
                Misuse::NotPrepared | Misuse::NotAttached | Misuse::NotArmed => {
                    Reason::PromotionPending
                }
            },
            source: Some(Box::new(misuse)),
        }
    }
}
