//! KVM as consumer of interrupts: GSIs, the routing table, irqfds, resample.
//!
//! ```text
//!   MsiConsumer ─┐                ┌─ MsiConsumer, PinConsumer: irqbroker-core's Consumer
//!   PinConsumer ─┼─► VmDomain ────┤  Transaction, Irqfd: the same without a registry
//!   Transaction ─┘      │         └─ RouteLease: a hold on a GSI
//!                       ▼
//!                     VmIrq ◄──── VmIrqFd (kernel), SimVm (simulator), CountingVm
//! ```
//!
//! [`VmDomain`] owns a VM's routing table: it hands out GSIs, shared by equal messages, and
//! writes the table once for all that was staged, or not at all if the kernel has it. The order
//! is route, then irqfd; and irqfd gone, then route.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use irqbroker_core::MsiMessage;
//! use irqbroker_kvm::DestinationIds;
//! use irqbroker_kvm::EmbedderRoutes;
//! use irqbroker_kvm::VmDomain;
//! use irqbroker_kvm::VmIrqFd;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let eventfd = || rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC);
//! let vm = Arc::new(kvm_ioctls::Kvm::new()?.create_vm()?);
//! vm.create_irq_chip()?;
//!
//! let seam = Arc::new(VmIrqFd::new(Arc::clone(&vm)));
//! let domain = VmDomain::new(seam, EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
//!
//! let mut transaction = domain.transaction();
//! for vector in 0x40..0x80 {
//!     let message = MsiMessage { address: 0xfee0_0000, data: vector };
//!     transaction.arm(Arc::new(eventfd()?), message, None)?;
//! }
//! let irqfds = transaction.commit()?; // One table for the 64 of them.
//! # Ok(())
//! # }
//! ```
//!
//! The ioctls used, for a seccomp filter: `KVM_CHECK_EXTENSION` and `KVM_IRQFD` at creation, then
//! `KVM_SET_GSI_ROUTING`, `KVM_IRQFD`, `KVM_SIGNAL_MSI`, `KVM_IRQ_LINE`.

mod capabilities;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
mod counting;
mod domain;
mod embedder;
mod errno;
mod irqfd;
mod message;
mod misuse;
mod msi;
mod pin;
mod route;
#[cfg(any(test, feature = "testing"))]
mod sim;
mod table;
mod transaction;
mod vm_irq;
mod vm_irq_fd;

pub use capabilities::Capabilities;
pub use capabilities::IrqchipMode;
pub use capabilities::ProbeError;
#[cfg(any(test, feature = "testing"))]
pub use counting::CountingVm;
#[cfg(any(test, feature = "testing"))]
pub use counting::IoctlCounts;
pub use domain::CommitError;
pub use domain::DomainError;
pub use domain::LeaseError;
pub use domain::RouteLease;
pub use domain::VmDomain;
pub use embedder::EmbedderRoutes;
pub use embedder::EmbedderRoutesError;
pub use errno::KvmErrno;
pub use irqfd::AttachError;
pub use irqfd::DetachError;
pub use irqfd::Irqfd;
pub use message::DestinationIds;
pub use message::MessageRefused;
pub use misuse::Misuse;
pub use misuse::ProducerRefused;
pub use msi::MsiConsumer;
pub use msi::SignalError;
pub use pin::PinConsumer;
pub use pin::PinError;
pub use pin::RaiseError;
pub use route::Irqchip;
pub use route::MsiRoute;
pub use route::Route;
pub use route::RouteEntry;
#[cfg(any(test, feature = "testing"))]
pub use sim::SimCall;
#[cfg(any(test, feature = "testing"))]
pub use sim::SimCallKind;
#[cfg(any(test, feature = "testing"))]
pub use sim::SimHost;
#[cfg(any(test, feature = "testing"))]
pub use sim::SimVm;
pub use table::GsiExhausted;
pub use transaction::RolledBack;
pub use transaction::Transaction;
pub use transaction::TransactionError;
pub use transaction::Unrestored;
pub use vm_irq::KernelCapabilities;
pub use vm_irq::LineLevel;
pub use vm_irq::MsiDelivery;
pub use vm_irq::VmIrq;
pub use vm_irq_fd::VmIrqFd;
