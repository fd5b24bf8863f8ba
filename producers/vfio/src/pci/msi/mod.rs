//! MSI (PCI Local Bus 3.0 §6.8.1, PCIe 5.0 §7.7.1).

mod capability;
mod layout;
mod registers;
mod saved;
#[cfg(test)]
mod tests;

pub use capability::MsiCapability;
pub use layout::MsiLayout;
pub use layout::MsiLayoutError;
pub use saved::RestoreMsiError;
pub use saved::SavedMsi;
