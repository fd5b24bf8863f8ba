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
//! A manager puts its devices behind a unit itself (`Manager::add_device_behind`); the rest is for
//! links that the embedder registers.
//!
//! The embedder emulates the unit's registers and queues. It calls
//! [`reconfigure`](RemappingUnit::reconfigure) and [`invalidate`](RemappingUnit::invalidate) as the
//! guest writes them, and reports an invalidation done after that has returned.
//!
//! ```
//! use std::error::Error;
//! use std::sync::Arc;
//!
//! use irqbroker::kvm::VmDomain;
//! use irqbroker::remapping::CompatibilityFormat;
//! use irqbroker::remapping::GuestMemory;
//! use irqbroker::remapping::IecInvalidation;
//! use irqbroker::remapping::Irta;
//! use irqbroker::remapping::PostedInterrupts;
//! use irqbroker::remapping::RemappingUnit;
//! use irqbroker::remapping::VtdFault;
//! use irqbroker::remapping::VtdRemapper;
//! use irqbroker::{MsiMessage, Registry, Rid, Token};
//!
//! fn device_behind_a_unit(
//!     registry: &Registry,
//!     domain: Arc<VmDomain>,
//!     memory: impl GuestMemory + Send + Sync + 'static,
//!     irta: u64,
//!     token: Token,
//! ) -> Result<(), Box<dyn Error>> {
//!     let set_up = VtdRemapper {
//!         table: Some(Irta::from_bits(irta)),
//!         compatibility: CompatibilityFormat::Blocked,
//!         posting: PostedInterrupts::NotOffered,
//!     };
//!     let record = |fault: &VtdFault| eprintln!("{fault}");
//!     let unit = RemappingUnit::new(registry.clone(), domain, set_up, memory, record);
//!
//!     // The guest has written this into the MSI-X table of 00:03.0: handle 0.
//!     let message = MsiMessage { address: 0xfee0_0010, data: 0 };
//!     let consumer = unit.msi("nic.msix0", Rid(3 << 3), message)?;
//!     let link = registry.register_consumer(token, consumer)?;
//!
//!     // A descriptor of its invalidation queue: index 0. Then comes its wait descriptor.
//!     let invalidation = IecInvalidation::decode(0x14)?;
//!     println!("{} links off the kernel", unit.invalidate(invalidation)?.links);
//!     println!("{}", link.delivery()?.reason);
//!     Ok(())
//! }
//! ```

mod consumer;
mod device;
mod error;
mod unit;

pub use consumer::RemappedMsi;
pub use device::RemappedDevice;
pub use error::InvalidateError;
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
