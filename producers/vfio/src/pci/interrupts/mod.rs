//! A function's INTx, MSI and MSI-X together.

mod function;
mod layout;
mod saved;
#[cfg(test)]
mod tests;

pub use function::InterruptMode;
pub use function::PciInterrupts;
pub use function::Written;
pub use layout::Capability;
pub use layout::IntxLayout;
pub use layout::LayoutError;
pub use layout::PciInterruptsLayout;
pub use saved::InterruptKind;
pub use saved::RestoreError;
pub use saved::SavedPciInterrupts;
