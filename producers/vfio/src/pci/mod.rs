//! Interrupts of PCI functions as a guest sees them: MSI-X, MSI and INTx.
//!
//! Guest accesses go in, effects come out. There is no I/O in here, no lock, nothing a guest or a
//! saved state can make panic, and no allocation where nothing changes. A function is a
//! [`PciInterrupts`]; [`MsixCapability`], [`MsiCapability`] and [`Intx`] can be used alone.
//!
//! What is pending is not kept here. It stands in the source of each vector (an eventfd's
//! counter), and whoever needs to know is given a probe to ask it with. So a masked vector needs
//! no more than that its source be left alone until the `Unmasked`.

mod access;
mod effect;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod interrupts;
mod intx;
#[cfg(test)]
mod model;
mod msi;
mod msix;
#[cfg(test)]
mod property;
mod saved;
#[cfg(any(test, feature = "testing"))]
mod sim;
#[cfg(any(test, feature = "testing"))]
pub mod traces;

pub use access::Claim;
pub use effect::Effect;
pub use effect::IntxEffect;
pub use effect::Level;
pub use effect::MessageEffect;
pub use effect::MessageSource;
pub use effect::VectorIndex;
pub use interrupts::Capability;
pub use interrupts::InterruptKind;
pub use interrupts::InterruptMode;
pub use interrupts::IntxLayout;
pub use interrupts::LayoutError;
pub use interrupts::PciInterrupts;
pub use interrupts::PciInterruptsLayout;
pub use interrupts::RestoreError;
pub use interrupts::SavedPciInterrupts;
pub use interrupts::Written;
pub use intx::Intx;
pub use intx::IntxPin;
pub use intx::IntxSource;
pub use intx::LineMember;
pub use intx::LineMembers;
pub use intx::RestoreIntxError;
pub use intx::SavedIntx;
pub use intx::SharedLine;
pub use msi::MsiCapability;
pub use msi::MsiLayout;
pub use msi::MsiLayoutError;
pub use msi::RestoreMsiError;
pub use msi::SavedMsi;
pub use msix::BarOffset;
pub use msix::MsixCapability;
pub use msix::MsixLayout;
pub use msix::MsixLayoutError;
pub use msix::RestoreMsixError;
pub use msix::SavedMsix;
pub use msix::SavedMsixEntry;
pub use saved::SAVED_VERSION;
#[cfg(any(test, feature = "testing"))]
pub use sim::Delivery;
#[cfg(any(test, feature = "testing"))]
pub use sim::SimFunction;
