//! The version that saved state carries.

/// Version of every saved structure of this module; one that differs is refused.
pub const SAVED_VERSION: u32 = 1;
