//! A VMM's PCI interrupts in one place: guest accesses in, delivered interrupts out.
//!
//! ```text
//!  config, BAR ──► DeviceHandle ──► registers (PciInterrupts) ──► effects
//!  accesses                                                         │ one batch an access
//!  EOI exits ────► Manager ◄────────────────────────────────────────┤
//!                    │                                              ▼
//!                    ├─ VFIO index or local producers ── link ── message or pin ──► KVM
//!                    └─ service: relay, promotions with one commit of routes, rates, faults
//! ```
//!
//! A vector costs a host interrupt, an eventfd and a GSI from the moment the guest first unmasks
//! it; masked, it keeps them, and its events stay in the eventfd. `design/embedding.md` says what
//! each operation costs and where this plugs into existing VMMs.

mod alarm;
mod balance;
mod control;
mod counts;
mod discover;
mod error;
mod explain;
mod fault;
mod function;
mod handle;
mod line;
mod lines;
mod meter;
mod options;
mod saved;
mod shared;
mod source;
mod storm;
mod stuck;
mod vectors;

pub use control::DeviceShape;
pub use control::Manager;
pub use counts::CountInterrupts;
pub use counts::ProcInterrupts;
pub use discover::DiscoverError;
pub use error::AddDeviceError;
pub use error::ManagerError;
pub use error::RestoreDeviceError;
pub use error::RestoreManagerError;
pub use error::RouteIntxError;
pub use error::ServiceFailed;
pub use explain::Explanation;
pub use fault::Fault;
pub use handle::DeviceHandle;
pub use lines::IrqLines;
pub use options::ManagerOptions;
pub use saved::SAVED_VERSION;
pub use saved::SavedDevice;
pub use saved::SavedManager;
pub use source::DeviceSource;
pub use source::VectorSource;
pub use stuck::LineLimits;
