//! Why an info structure could not be decoded.

use crate::errno::Errno;

/// Why the bytes of an info structure are not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    /// The fixed part is cut off, or `argsz` says so.
    #[error("info structure of {len} bytes, at least {minimum} are needed")]
    Short {
        /// Bytes there are, by the slice and by `argsz`.
        len: usize,
        /// The fixed part that every kernel fills in.
        minimum: usize,
    },
    /// There are capabilities, and the buffer did not hold them: ask again with one that does.
    #[error("capabilities need a buffer of {needed} bytes")]
    BufferTooSmall {
        /// What `argsz` must be.
        needed: u32,
    },
    /// As [`BufferTooSmall`](Self::BufferTooSmall), but with more than anything takes: not to be
    /// allocated on the other side's word.
    #[error("capabilities need a buffer of {needed} bytes, more than {limit}")]
    TooLarge {
        /// What `argsz` would have to be.
        needed: u32,
        /// The most there may be.
        limit: u32,
    },
    /// A capability begins within the fixed part or ends behind the buffer.
    #[error("capability at {offset:#x} is outside of {start:#x}..{end:#x}")]
    Outside {
        /// Where the capability would begin.
        offset: u32,
        /// Where the first may begin.
        start: usize,
        /// Where the buffer ends.
        end: usize,
    },
    /// A capability does not begin at a multiple of what its fields need.
    #[error("capability at {offset:#x} is not aligned to {alignment}")]
    Misaligned {
        /// Where the capability would begin.
        offset: u32,
        /// What the offset must be a multiple of.
        alignment: usize,
    },
    /// A capability names a next one that does not lie behind it. A chain that never goes back
    /// cannot loop.
    #[error("capability at {offset:#x} is followed by one at {next:#x}")]
    Backwards {
        /// Where the capability begins.
        offset: u32,
        /// Where the next one would.
        next: u32,
    },
    /// More capabilities than any device has.
    #[error("more than {limit} capabilities")]
    TooMany {
        /// The most that are read.
        limit: usize,
    },
    /// A capability is shorter than its id, or its own count, says.
    #[error("capability {id} has {len} bytes, {needed} are needed")]
    Truncated {
        /// The capability.
        id: u16,
        /// Bytes behind its header.
        len: usize,
        /// Bytes there would have to be.
        needed: u64,
    },
    /// A capability describes a sub-index that the index lacks, or one twice.
    #[error("capability {id} describes sub-index {sub_index}, beyond {count} or out of order")]
    SubIndex {
        /// The capability.
        id: u16,
        /// What it describes.
        sub_index: u32,
        /// How many sub-indexes there are.
        count: u32,
    },
    /// A plane's flags say nothing of where its picture is.
    #[error("plane flags {flags:#x} name no way to its picture")]
    GfxFlags {
        /// The flags.
        flags: u32,
    },
}

/// A device that sends such bytes does not keep to the protocol.
impl From<InfoError> for Errno {
    fn from(_: InfoError) -> Self {
        Self::EPROTO
    }
}
