//! One capability of a chain, whatever it says.

/// A capability as it came: its id says nothing to this crate, or is of another version.
///
/// The ABI gives no capability a length: what came is all up to the next capability or the end of
/// the buffer, so `bytes` may end in bytes that do not belong to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RawCapability {
    /// What it is, per kind of info structure.
    pub id: u16,
    /// Version of its layout.
    pub version: u16,
    /// What follows its 8-byte header; padded with zeros to a multiple of 8 when encoded.
    pub bytes: Vec<u8>,
}
