//! Memory of a device that is looked at in place, while the guest draws in it.
//!
//! A picture that is mapped is read once, where `pread` copies all of it first. Whoever has the file of
//! a mapping can end the process that looks at it, by shrinking the file (SIGBUS). So only what cannot
//! shrink is mapped: a memfd of ordinary pages, sealed against it (`fcntl(2)`, `F_SEAL_SHRINK`), or a
//! dma-buf, whose size is fixed (`Documentation/driver-api/dma-buf.rst`).

#![expect(
    unsafe_code,
    reason = "mapped memory has no safe interface where others write to it"
)]
// UNSAFETY: a mapping of one's own, for reading alone, lives as long as `Mapping` and is read within its
// length by volatile loads. No reference to it is ever made: the guest writes to it at any time.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use rustix::fs::SealFlags;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use rustix::mm::MapFlags;
use rustix::mm::ProtFlags;

use crate::import_error::ImportError;

/// `TMPFS_MAGIC` (`include/uapi/linux/magic.h`). A memfd of huge pages has another; a page of it that
/// is not there yet may be had no more, which is a SIGBUS too.
const TMPFS: u64 = 0x0102_1994;
/// `DMA_BUF_MAGIC` of the same file: only the kernel makes files of this file system.
const DMA_BUF: u64 = 0x444d_4142;
/// Larger files are not mapped: they would take the place of much else. The largest picture fits.
const LEN_MAX: u64 = 1 << 31;
/// Bytes of what is loaded at once.
const WORD: usize = size_of::<u64>();

/// Which file it is. No other has the same while this one is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    len: usize,
}

/// All of a file, for reading.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<c_void>,
    identity: Identity,
}

// SAFETY: the mapping belongs to the process, not to a thread, and `start` is the only way to it that
// this type has; it is handed to nobody.
unsafe impl Send for Mapping {}

impl Mapping {
    /// That of a file, if it can be mapped without danger: `known`, where it is of this file.
    pub(crate) fn of(fd: BorrowedFd<'_>, known: Option<Self>) -> Option<Self> {
        let identity = identity(fd)?;
        if known
            .as_ref()
            .is_some_and(|known| known.identity == identity)
        {
            return known;
        }
        drop(known);
        if magic(fd) != Ok(TMPFS) {
            return None;
        }
        let seals = rustix::fs::fcntl_get_seals(fd).ok()?;
        if !seals.contains(SealFlags::SHRINK) {
            return None;
        }
        Self::new(fd, identity).ok()
    }

    /// All of a dma-buf. Its size is that of the moment it was made, and its driver answers for its pages.
    pub(crate) fn of_dmabuf(fd: BorrowedFd<'_>) -> Result<Self, ImportError> {
        let stat = |source| ImportError::Stat { source };
        let magic = magic(fd).map_err(stat)?;
        if magic != DMA_BUF {
            return Err(ImportError::Kind { magic });
        }
        // That of a dma-buf moves nothing: it is how its size is told.
        let len = rustix::fs::seek(fd, SeekFrom::End(0)).map_err(stat)?;
        let file = rustix::fs::fstat(fd).map_err(stat)?;
        let identity = Identity {
            device: file.st_dev,
            inode: file.st_ino,
            len: mappable(len).ok_or(ImportError::Size { len })?,
        };
        Self::new(fd, identity).map_err(|source| ImportError::Map { source })
    }

    /// All of a file that cannot shrink and has as many bytes as the identity says.
    fn new(fd: BorrowedFd<'_>, identity: Identity) -> Result<Self, Errno> {
        // SAFETY: no address is asked for, so that nothing that is mapped is replaced; the length is
        // not 0 (`mappable`), and the fd is open as long as it is borrowed, which is until the return.
        let start = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                identity.len,
                ProtFlags::READ,
                MapFlags::SHARED,
                fd,
                0,
            )
        }?;
        Ok(Self {
            start: NonNull::new(start).ok_or(Errno::NOMEM)?,
            identity,
        })
    }

    /// Bytes of the file.
    pub(crate) const fn len(&self) -> usize {
        self.identity.len
    }

    /// Copies what is there from `at` on, and returns how many bytes that were: less only at the end.
    /// What is written meanwhile comes in parts, of the old and of the new.
    #[inline]
    pub(crate) fn read(&self, at: usize, bytes: &mut [u8]) -> usize {
        let count = self.len().saturating_sub(at).min(bytes.len());
        if count == 0 {
            return 0;
        }
        // A mapping begins with a page, so a word lies well where its place is a multiple of its size.
        let unaligned = (at.wrapping_neg() % WORD).min(count);
        let (head, rest) = bytes[..count].split_at_mut(unaligned);
        let (words, tail) = rest.as_chunks_mut::<WORD>();
        for (at, byte) in (at..).zip(head) {
            *byte = self.byte(at);
        }
        let from = at + unaligned;
        // SAFETY: `from` is at most `at + count`, which is within the mapping.
        let start = unsafe { self.start.byte_add(from) }.cast::<u64>();
        for (index, into) in words.iter_mut().enumerate() {
            // SAFETY: the word ends at `from + WORD * (index + 1)`, at most `at + count`.
            let word_at = unsafe { start.add(index) };
            // SAFETY: within the mapping, which lives as long as `self` and cannot shrink; a multiple
            // of `WORD` from a page's begin, or there is no word; all bytes are valid as a number.
            let word = unsafe { word_at.read_volatile() };
            *into = word.to_ne_bytes();
        }
        let from = from + words.len() * WORD;
        for (at, byte) in (from..).zip(tail) {
            *byte = self.byte(at);
        }
        count
    }

    /// The byte at a place within the mapping.
    fn byte(&self, at: usize) -> u8 {
        assert!(at < self.len(), "byte {at} of {}", self.len());
        // SAFETY: within the mapping, as has just been seen.
        let byte = unsafe { self.start.byte_add(at) }.cast::<u8>();
        // SAFETY: within the mapping, which lives as long as `self` and cannot shrink; a byte lies well
        // anywhere and is always valid.
        unsafe { byte.read_volatile() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this start and length by `of`, nobody else has unmapped it, and
        // neither a reference nor a pointer to it outlives `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr(), self.identity.len) };
        // It fails for what was never mapped.
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

/// None of a file that is empty or too large.
fn identity(fd: BorrowedFd<'_>) -> Option<Identity> {
    let stat = rustix::fs::fstat(fd).ok()?;
    Some(Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
        len: mappable(u64::try_from(stat.st_size).ok()?)?,
    })
}

/// A length that can be mapped, as one of memory.
fn mappable(len: u64) -> Option<usize> {
    let memory = usize::try_from(len).ok();
    memory.filter(|_| (1..=LEN_MAX).contains(&len))
}

/// Of which file system a file is.
fn magic(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let file = rustix::fs::fstatfs(fd)?;
    u64::try_from(file.f_type).map_err(|_| Errno::OVERFLOW)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::fd::OwnedFd;

    use rustix::fs::MemfdFlags;

    use super::*;

    /// Neither a page nor a number of words.
    const LEN: usize = 4099;

    /// What a test's file has at a place.
    fn byte(at: usize) -> u8 {
        u8::try_from(at % 251).unwrap()
    }

    /// A memfd in which each byte is another than its neighbours, with these seals.
    fn file(flags: MemfdFlags, seals: SealFlags) -> OwnedFd {
        let flags = MemfdFlags::CLOEXEC | flags;
        let file = rustix::fs::memfd_create("mapped", flags).unwrap();
        let bytes: Vec<u8> = (0..LEN).map(byte).collect();
        rustix::io::pwrite(&file, &bytes, 0).unwrap();
        if !seals.is_empty() {
            rustix::fs::fcntl_add_seals(&file, seals).unwrap();
        }
        file
    }

    fn sealed() -> OwnedFd {
        file(MemfdFlags::ALLOW_SEALING, SealFlags::SHRINK)
    }

    #[test]
    fn mapping_reads_what_the_file_holds_at_any_place_and_length() {
        let mapping = Mapping::of(sealed().as_fd(), None).unwrap();
        // Both sides of words, of the page and of the end.
        for at in [
            0,
            1,
            63,
            64,
            65,
            4090,
            4096,
            LEN - 1,
            LEN,
            LEN + 1,
            usize::MAX,
        ] {
            for len in (0..20).chain(60..70).chain(120..200) {
                let mut bytes = vec![0xff; len];
                let count = mapping.read(at, &mut bytes);
                assert_eq!(count, len.min(LEN.saturating_sub(at)), "{len} at {at}");
                let pairs = bytes[..count].iter().zip(at..);
                pairs.for_each(|(&read, at)| assert_eq!(read, byte(at)));
                assert!(bytes[count..].iter().all(|&byte| byte == 0xff));
            }
        }
    }

    #[test]
    fn file_that_could_shrink_is_not_mapped() {
        let unsealed = file(MemfdFlags::ALLOW_SEALING, SealFlags::GROW);
        assert!(Mapping::of(unsealed.as_fd(), None).is_none());
        let no_seals = file(MemfdFlags::empty(), SealFlags::empty());
        assert!(Mapping::of(no_seals.as_fd(), None).is_none());
        let on_disk = tempfile();
        assert!(Mapping::of(on_disk.as_fd(), None).is_none());
    }

    /// Any file that is no memfd.
    fn tempfile() -> OwnedFd {
        std::fs::File::open("/proc/self/exe").unwrap().into()
    }

    #[test]
    fn file_that_is_empty_or_too_large_is_not_mapped() {
        for len in [0, LEN_MAX + 1] {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let file = rustix::fs::memfd_create("mapped", flags).unwrap();
            rustix::fs::ftruncate(&file, len).unwrap();
            rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
            assert!(Mapping::of(file.as_fd(), None).is_none(), "{len}");
        }
    }

    #[test]
    fn same_file_is_mapped_once_and_another_instead_of_it() {
        let (first, second) = (sealed(), sealed());
        let mapping = Mapping::of(first.as_fd(), None).unwrap();
        let start = mapping.start;
        let again = first.try_clone().unwrap();
        let mapping = Mapping::of(again.as_fd(), Some(mapping)).unwrap();
        assert_eq!(mapping.start, start);

        rustix::io::pwrite(&second, &[200], 0).unwrap();
        let mapping = Mapping::of(second.as_fd(), Some(mapping)).unwrap();
        let mut byte = [0];
        mapping.read(0, &mut byte);
        assert_eq!(byte, [200]);
    }

    #[test]
    fn what_is_written_later_is_read() {
        let file = sealed();
        let mapping = Mapping::of(file.as_fd(), None).unwrap();
        rustix::io::pwrite(&file, &[9; 3], 100).unwrap();
        let mut bytes = [0; 3];
        mapping.read(100, &mut bytes);
        assert_eq!(bytes, [9; 3]);
    }
}
