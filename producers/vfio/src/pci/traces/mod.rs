//! Conformance of a PCI function's interrupts, as traces to run against anybody's state machine.
//!
//! A [`Trace`] is a story: the guest writes and reads, the device has events, the guest gets just
//! these interrupts. Nothing in it is about how a target is built, so a shim that implements
//! [`TraceTarget`] is about a hundred lines; [`FunctionTarget`] is ours. Traces avoid what the
//! specification leaves undefined, save where a guest in use depends on it.
//!
//! ```
//! use irqbroker_vfio::pci::IntxSource;
//! use irqbroker_vfio::pci::traces;
//!
//! for trace in traces::all() {
//!     let mut target = traces::FunctionTarget::new(&trace.shape, IntxSource::Tracked)?;
//!     assert_eq!(trace.run(&mut target)?, traces::Outcome::Passed);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod function;
mod intx;
mod list;
mod msi;
mod msix_access;
mod msix_masking;
mod msix_message;
#[cfg(test)]
mod mutants;
mod run;
mod saved;
mod terms;
#[cfg(test)]
mod tests;
mod trace;

pub use function::FunctionTarget;
pub use list::all;
pub use run::Found;
pub use run::Outcome;
pub use run::Support;
pub use run::TraceFailure;
pub use run::TraceTarget;
pub use terms::LINE;
pub use terms::OTHER_LINE;
pub use trace::At;
pub use trace::Programmed;
pub use trace::Shape;
pub use trace::Step;
pub use trace::Trace;
pub use trace::Width;
