//! Live interrupt-remapping tables: who owns which entries, and how one is changed under way.

mod amd;
mod blocks;
mod vtd;

pub use amd::AmdIrteTable;
pub use amd::AmdUpdate;
pub use blocks::IrteBlock;
pub use blocks::TableError;
pub use vtd::CachingMode;
pub use vtd::VtdIrteTable;
pub use vtd::VtdUpdate;
