//! The bytes of a dma-buf, as whoever shows a picture reads them.
#![expect(unsafe_code, reason = "dma-bufs are reached through a mapping alone")]
// UNSAFETY: mmap, munmap, loads from the mapping, and DMA_BUF_IOCTL_SYNC, which takes a pointer.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;

use irqbroker_vfio_abi::Errno;
use rustix::ioctl::Setter;
use rustix::ioctl::opcode;
use rustix::mm::MapFlags;
use rustix::mm::ProtFlags;

/// `DMA_BUF_SYNC_READ` and `DMA_BUF_SYNC_END` (`include/uapi/linux/dma-buf.h`).
const SYNC_READ: u64 = 1;
const SYNC_END: u64 = 4;

/// Copies the first `len` bytes of a dma-buf, of which whoever fills it may be changing some.
///
/// # Errors
///
/// ENOTTY if it is no dma-buf, such as a memfd; EINVAL if it is shorter; those of mmap(2).
pub fn read_dmabuf(dmabuf: BorrowedFd<'_>, len: usize) -> Result<Vec<u8>, Errno> {
    sync(dmabuf, SYNC_READ)?;
    let bytes = Mapping::new(dmabuf, len).map(|mapping| mapping.copy());
    sync(dmabuf, SYNC_READ | SYNC_END)?;
    bytes
}

/// Begins or ends an access of this processor's.
fn sync(dmabuf: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    // `struct dma_buf_sync` is one word of flags.
    const SYNC: rustix::ioctl::Opcode = opcode::write::<u64>(b'b', 0);
    // SAFETY: the opcode must take a pointer to the type that is given, and do no more than read
    // it: `DMA_BUF_IOCTL_SYNC` is `_IOW('b', 0, struct dma_buf_sync)`. A file of another kind
    // answers ENOTTY and does not look at it.
    let setter = unsafe { Setter::<SYNC, u64>::new(flags) };
    // SAFETY: as above; the setter owns its word and lives across the call.
    Ok(unsafe { rustix::ioctl::ioctl(dmabuf, setter) }?)
}

/// A file mapped for reading.
struct Mapping {
    base: NonNull<AtomicU8>,
    len: usize,
}

impl Mapping {
    /// Maps the first `len` bytes, at least one, of a file that has so many and cannot shrink.
    fn new(file: BorrowedFd<'_>, len: usize) -> Result<Self, Errno> {
        // A dma-buf tells its size by its end; a page behind that would fault.
        let end = rustix::fs::seek(file, rustix::fs::SeekFrom::End(0))?;
        if len == 0 || end < len as u64 {
            return Err(Errno::EINVAL);
        }
        // SAFETY: no address is asked for, so no mapping of ours can be replaced.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::SHARED,
                file.as_fd(),
                0,
            )
        }?;
        let base = NonNull::new(base.cast()).ok_or(Errno::ENOMEM)?;
        Ok(Self { base, len })
    }

    fn copy(&self) -> Vec<u8> {
        // SAFETY: the mapping has `len` bytes, readable for as long as `self` is there and within a
        // file that does not shrink; a byte is aligned everywhere; others write them only as a
        // device or another process does, which atomics allow for.
        let bytes = unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) };
        // Relaxed: a picture that changes meanwhile is neither the one nor the other.
        bytes
            .iter()
            .map(|byte| byte.load(Ordering::Relaxed))
            .collect()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping that `new` made, and no borrow of it outlives `self`.
        // The one failure, a range that is none, cannot be.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    use rustix::fs::MemfdFlags;

    fn memfd(bytes: &[u8]) -> OwnedFd {
        let file = rustix::fs::memfd_create("picture", MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(rustix::io::pwrite(&file, bytes, 0), Ok(bytes.len()));
        file
    }

    #[test]
    fn memfd_is_told_from_a_dmabuf() {
        let file = memfd(&[1; 4096]);
        assert_eq!(read_dmabuf(file.as_fd(), 4096), Err(Errno::ENOTTY));
    }

    #[test]
    fn mapping_is_the_bytes_of_the_file_and_no_longer_than_it() {
        let file = memfd(b"five.");
        let mapping = Mapping::new(file.as_fd(), 5).unwrap();
        assert_eq!(mapping.copy(), b"five.");
        for len in [0, 6] {
            let refused = Mapping::new(file.as_fd(), len).map(drop);
            assert_eq!(refused, Err(Errno::EINVAL));
        }
    }
}
