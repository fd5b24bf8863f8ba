//! How parts of the VRAM become dma-bufs.

use std::fmt::Debug;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

/// Makes dma-bufs of a memfd that cannot shrink.
pub(crate) trait ExportDmabuf: Debug + Send + Sync {
    /// A dma-buf of `size` bytes of `memory` from `offset` on, both whole pages within it.
    fn export(&self, memory: BorrowedFd<'_>, offset: u64, size: u64) -> Result<OwnedFd, Errno>;
}
