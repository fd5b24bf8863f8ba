//! The fuzz targets as plain functions: each panics where a property does not hold.
//!
//! `fuzz/` hands them to `cargo fuzz`; the tests of this module replay its corpora, mutated.

pub use crate::vnc::fuzz::rfb;

/// An entry point.
pub type Target = fn(&[u8]);

/// All entry points, by the names of their corpora.
pub const TARGETS: [(&str, Target); 1] = [("rfb", rfb)];

#[cfg(test)]
mod tests;
