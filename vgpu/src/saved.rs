//! A vGPU as it is saved: a file of its state and the pages of its VRAM that are not empty.
//!
//! ```text
//!  0      "IRQBVGPU", version, bytes of the state, where the VRAM begins, its bytes, checksum of
//!         the state: 8, 4, 4, 8, 8 and 8 bytes, little-endian
//!  40     the state, as JSON
//!  page   the VRAM, with holes where it is empty
//! ```
//!
//! It is made in memory, sealed, so that it can go to another process as an fd. Whoever wants it
//! on a disk copies it there, with its holes.

mod error;
mod file;
mod state;

pub use error::RestoreError;
pub use error::SaveError;
pub use error::SavedPart;
pub(crate) use file::SavedFile;
pub(crate) use file::write;
pub(crate) use state::SavedHead;
pub(crate) use state::SavedType;
pub(crate) use state::SavedVgpu;
pub(crate) use state::ratio;

/// Version of the file and of the state in it; another one is refused.
pub const SAVED_VERSION: u32 = 1;
