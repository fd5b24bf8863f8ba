//! Which way a link's interrupts take on this host, and what would better it.
//!
//! ```text
//!  LinkSnapshot: state, reason, route, source ─┐
//!  VmView: irqchip, message ids, APICs ────────┼─► explain ─► PathAnswer: path, evidence,
//!  HostPosting: /sys, /proc, debugfs ──────────┘              why not better, remedy
//! ```
//!
//! What the registry knows is told: a link is unmatched, masked, in relay, posted by us or bypassed.
//! Whether the kernel posts a bypassed link's interrupts into the running guest it tells nobody; that
//! is worked out from what it takes (`arch/x86/kvm/irq.c`, `arch/x86/kvm/x86.c`) and from the
//! remapping table where debugfs shows it, and each answer says by its [`Evidence`] which it is.
//!
//! ```
//! use irqbroker::explain::{HostPosting, HostRoot, Irqchip, MessageIds, VmView, explain};
//! use irqbroker::{LinkError, LinkId, Registry};
//!
//! fn tell(registry: &Registry, link: LinkId) -> Result<(), LinkError> {
//!     let vm = VmView {
//!         irqchip: Irqchip::Full,
//!         message_ids: MessageIds::Bits8,
//!         apics: None,
//!     };
//!     let host = HostPosting::read(&HostRoot::default());
//!     // bypass, posted by the kernel (inferred)
//!     println!("{}", explain(&registry.link(link)?, &vm, &host));
//!     Ok(())
//! }
//! ```

mod answer;
mod entries;
mod files;
mod host;
mod interrupts;
mod path;
mod remedy;

pub use answer::VmView;
pub use answer::explain;
pub use entries::PostedEntry;
pub use files::HostFiles;
pub use files::HostRoot;
pub use files::Reading;
pub use host::CanPost;
pub use host::HostLacks;
pub use host::HostPosting;
pub use host::IommuPosting;
pub use interrupts::Interrupts;
pub use interrupts::PostedCounts;
pub use path::Evidence;
pub use path::InterruptPath;
pub use path::KernelDelivery;
pub use path::PathAnswer;
pub use path::WhyNot;
pub use posted_irq::ApicMap;
pub use posted_irq::Irqchip;
pub use posted_irq::MessageIds;
pub use posted_irq::NotPosted;
pub use remedy::Remedy;

#[cfg(test)]
mod tests;
