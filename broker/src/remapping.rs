//! Links behind a guest's own interrupt remapping, for VMMs with the split irqchip.
//!
//! ```text
//!  guest memory ──► VtdRemapper, AmdRemapper ──► RemappedMsi ──► MsiConsumer ──► route, irqfd
//!                                                     ▲  │
//!  IEC, INVALIDATE_INTERRUPT_TABLE ──► RemappingUnit ─┘  └─► faults, when an interrupt is refused
//! ```
//!
//! A device that the guest gives a message in remappable format leads to an entry of a table in the
//! guest's memory. [`RemappingUnit`] translates such messages, so that the links behind it are
//! bypassed like others: the irqfd stays while the translation is cached, as hardware's would be.
//!
//! ```text
//!             prepared: no fault                   promoted with the next batch
//!     ┌───────────────────────────────► bypass ◄──────────────────────────────┐
//!     │                                   │ an invalidation names its entry    │
//!  message ─► fault: relay, not recorded  ▼                                    │
//!     └───────────────────────────────► relay ── next interrupt: translated ──┘
//!                                         └───── or refused, and its fault recorded
//! ```
//!
//! So an invalidation costs one `KVM_IRQFD` for each link that used the entry and nothing for any
//! other, and what a guest writes into its tables has no effect until it says so, nor a fault until
//! there is an interrupt. (Proposed for QEMU by David Woodhouse, qemu-devel, January 2023.)
//!
//! The embedder emulates the unit's registers and queues. It calls
//! [`reconfigure`](RemappingUnit::reconfigure) and [`invalidate`](RemappingUnit::invalidate) as the
//! guest writes them, and reports an invalidation done after that has returned.

mod consumer;
mod error;
mod unit;

pub use consumer::RemappedMsi;
pub use error::InvalidateError;
pub use error::SourceRefused;
pub use error::Undeliverable;
pub use posted_irq::AmdCommandError;
pub use posted_irq::AmdDeviceTable;
pub use posted_irq::AmdFault;
pub use posted_irq::AmdInvalidation;
pub use posted_irq::AmdIrteLayout;
pub use posted_irq::AmdRemapper;
pub use posted_irq::ApicIdFormat;
pub use posted_irq::CompatibilityFormat;
pub use posted_irq::GuestMemory;
pub use posted_irq::GuestMode;
pub use posted_irq::IecError;
pub use posted_irq::IecInvalidation;
pub use posted_irq::Irta;
pub use posted_irq::PostedInterrupts;
pub use posted_irq::Remapper;
pub use posted_irq::Unmapped;
pub use posted_irq::VtdFault;
pub use posted_irq::VtdFaultLog;
pub use posted_irq::VtdFaultReason;
pub use posted_irq::VtdRecorded;
pub use posted_irq::VtdRemapper;
pub use unit::GuestRemapper;
pub use unit::Invalidated;
pub use unit::RemappingUnit;

#[cfg(test)]
mod tests;
