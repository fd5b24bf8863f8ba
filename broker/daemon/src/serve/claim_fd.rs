//! The claim record: what the relay was in the middle of, in memory that outlives the daemon.
#![expect(unsafe_code, reason = "a mapping shared with a peer")]
// UNSAFETY: mmap and munmap have no safe form; the mapping is shared with another process.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;

use rustix::fs::FallocateFlags;
use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;
use rustix::io::Errno;
use rustix::mm::MapFlags;
use rustix::mm::ProtFlags;

/// Consumers one record has room for: one byte each.
pub(crate) const SLOTS: u32 = 16 * 1024;

const BYTES: usize = SLOTS as usize;

/// What keeps a peer from taking pages away under the mapping.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// `TMPFS_MAGIC` (`include/uapi/linux/magic.h`): not hugetlbfs, whose pages can run out.
const TMPFS: i64 = 0x0102_1994;

/// One byte per consumer: 1 from before the relay reads the producer's eventfd until after it has
/// written the consumer's. Whoever finds a 1 that is not its own delivers once more.
///
/// The peer can write it too. All it can do is have itself one interrupt more, or one less, after
/// the daemon died.
#[derive(Debug)]
pub(crate) struct ClaimRecord {
    memory: OwnedFd,
    cells: NonNull<AtomicU8>,
}

/// Why an fd is no claim record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimRecordError {
    /// It is no memory of the daemon's making.
    #[error("no sealed memory of {BYTES} bytes")]
    NotARecord,
    /// The kernel refused.
    #[error("cannot map a claim record")]
    Kernel(#[from] Errno),
}

impl ClaimRecord {
    /// A new one, all zero.
    ///
    /// # Errors
    ///
    /// The kernel refused.
    pub(crate) fn create() -> Result<Self, ClaimRecordError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = rustix::fs::memfd_create("irqbroker-claims", flags)?;
        rustix::fs::ftruncate(&memory, u64::from(SLOTS))?;
        rustix::fs::fcntl_add_seals(&memory, SEALS)?;
        Self::map(memory)
    }

    /// The record of an earlier daemon, from the peer that kept it.
    ///
    /// # Errors
    ///
    /// It is none.
    pub(crate) fn from_peer(memory: OwnedFd) -> Result<Self, ClaimRecordError> {
        Self::check(&memory)?;
        Self::map(memory)
    }

    /// Whether an fd is one.
    ///
    /// # Errors
    ///
    /// It is none.
    pub(crate) fn check(memory: &OwnedFd) -> Result<(), ClaimRecordError> {
        let not_a_record = |_| ClaimRecordError::NotARecord;
        let seals = rustix::fs::fcntl_get_seals(memory).map_err(not_a_record)?;
        // Files of memory only have seals: nothing below waits for the owner of a file system.
        let size = rustix::fs::fstat(memory)?.st_size;
        let kind = rustix::fs::fstatfs(memory)?.f_type;
        // The memory can no longer shrink once the seals are seen: the size holds.
        if !seals.contains(SEALS) || size != i64::from(SLOTS) || kind != TMPFS {
            return Err(ClaimRecordError::NotARecord);
        }
        Ok(())
    }

    fn map(memory: OwnedFd) -> Result<Self, ClaimRecordError> {
        // So that no page is missing when it is written later.
        // The relay's timer may interrupt it.
        rustix::io::retry_on_intr(|| {
            rustix::fs::fallocate(&memory, FallocateFlags::empty(), 0, u64::from(SLOTS))
        })?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        // `memory` is open and has BYTES bytes, which the seals keep it from losing.
        let mapped = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                BYTES,
                protection,
                MapFlags::SHARED,
                &memory,
                0,
            )
        }?;
        let cells = NonNull::new(mapped.cast()).ok_or(ClaimRecordError::NotARecord)?;
        Ok(Self { memory, cells })
    }

    /// The relay is about to claim for this consumer.
    pub(crate) fn begin(&self, slot: u32) {
        self.set(slot, 1);
    }

    /// What was claimed has been written, or there was nothing.
    pub(crate) fn end(&self, slot: u32) {
        self.set(slot, 0);
    }

    /// Whether somebody began and did not end.
    pub(crate) fn is_open(&self, slot: u32) -> bool {
        // Relaxed: the daemon that wrote it has ended.
        self.cell(slot)
            .is_some_and(|cell| cell.load(Ordering::Relaxed) != 0)
    }

    fn set(&self, slot: u32, value: u8) {
        if let Some(cell) = self.cell(slot) {
            // Release: a system call follows or went before, which the compiler moves no store
            // across, and a processor has finished its stores before another sees it stopped.
            cell.store(value, Ordering::Release);
        }
    }

    fn cell(&self, slot: u32) -> Option<&AtomicU8> {
        let at = usize::try_from(slot).ok().filter(|&at| at < BYTES)?;
        // SAFETY: `at` is below BYTES, the length of the mapping, so that the result is in it.
        let cell = unsafe { self.cells.add(at) };
        // SAFETY: the mapping is aligned for one byte, initialised by the kernel, and lives as
        // long as `self`; it is only ever accessed through atomics.
        Some(unsafe { cell.as_ref() })
    }
}

impl AsFd for ClaimRecord {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl Drop for ClaimRecord {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `map`, of that length; no reference into it outlives
        // `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.cells.as_ptr().cast(), BYTES) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_that_comes_back_shows_what_was_open() {
        let first = ClaimRecord::create().unwrap();
        first.begin(7);
        first.begin(8);
        first.end(8);
        let kept = first.as_fd().try_clone_to_owned().unwrap();
        drop(first);
        let second = ClaimRecord::from_peer(kept).unwrap();
        let open: Vec<u32> = (0..SLOTS).filter(|&slot| second.is_open(slot)).collect();
        assert_eq!(open, [7]);
    }

    #[test]
    fn slot_beyond_the_record_is_ignored() {
        let record = ClaimRecord::create().unwrap();
        record.begin(SLOTS);
        assert!(!record.is_open(SLOTS));
        assert!(!record.is_open(u32::MAX));
    }

    #[test]
    fn memory_without_seals_or_of_another_size_is_refused() {
        let memory = |bytes: u64, seals| {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let memory = rustix::fs::memfd_create("peer", flags).unwrap();
            rustix::fs::ftruncate(&memory, bytes).unwrap();
            rustix::fs::fcntl_add_seals(&memory, seals).unwrap();
            memory
        };
        let bytes = u64::from(SLOTS);
        ClaimRecord::from_peer(memory(bytes, SEALS)).unwrap();
        for refused in [
            memory(bytes, SealFlags::GROW),
            memory(bytes - 1, SEALS),
            std::fs::File::open("/dev/null").unwrap().into(),
        ] {
            assert!(matches!(
                ClaimRecord::from_peer(refused),
                Err(ClaimRecordError::NotARecord)
            ));
        }
    }
}
