//! MSI-X (PCI Local Bus 3.0 §6.8.2, PCIe 5.0 §7.7.2).

mod capability;
mod layout;
mod registers;
mod saved;
#[cfg(test)]
mod tests;

pub use capability::MsixCapability;
pub use layout::BarOffset;
pub use layout::MsixLayout;
pub use layout::MsixLayoutError;
pub use saved::RestoreMsixError;
pub use saved::SavedMsix;
pub use saved::SavedMsixEntry;
