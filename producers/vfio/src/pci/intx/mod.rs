//! INTx and lines that functions share (PCI Local Bus 3.0 §2.2.6, §6.2.2-6.2.4).

mod function;
mod registers;
mod saved;
mod shared_line;
#[cfg(test)]
mod tests;

pub use function::Intx;
pub use function::IntxPin;
pub use function::IntxSource;
pub use saved::RestoreIntxError;
pub use saved::SavedIntx;
pub use shared_line::LineMember;
pub use shared_line::LineMembers;
pub use shared_line::SharedLine;
