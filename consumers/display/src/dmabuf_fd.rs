//! A dma-buf that the processor looks at.

#![expect(unsafe_code, reason = "the brackets of an access are an ioctl")]
// UNSAFETY: DMA_BUF_IOCTL_SYNC, which takes a pointer to a word and does no more than read it.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::ioctl::Opcode;
use rustix::ioctl::Setter;
use rustix::ioctl::opcode;

use crate::import_error::ImportError;
use crate::mapping_fd::Mapping;

/// `DMA_BUF_SYNC_READ` and `DMA_BUF_SYNC_END` (`include/uapi/linux/dma-buf.h`).
const SYNC_READ: u64 = 1;
const SYNC_END: u64 = 4;

/// Begins or ends an access.
type Bracket = fn(BorrowedFd<'_>, u64) -> Result<(), Errno>;

/// A dma-buf, mapped for reading.
///
/// Its file stays open: a driver gives the id of a buffer to another one once nobody has it any more.
#[derive(Debug)]
pub(crate) struct Dmabuf {
    file: OwnedFd,
    memory: Mapping,
    bracket: Bracket,
}

impl Dmabuf {
    /// Maps all of it.
    pub(crate) fn import(file: OwnedFd) -> Result<Self, ImportError> {
        let memory = Mapping::of_dmabuf(file.as_fd())?;
        Ok(Self {
            file,
            memory,
            bracket,
        })
    }

    /// Bytes of it.
    pub(crate) const fn len(&self) -> usize {
        self.memory.len()
    }

    /// Begins to read it: its driver makes what devices have written to be seen by the processor.
    pub(crate) fn access(&self) -> Result<Access<'_>, ImportError> {
        (self.bracket)(self.file.as_fd(), SYNC_READ)
            .map_err(|source| ImportError::Access { source })?;
        Ok(Access { dmabuf: self })
    }
}

/// For as long as this is there a dma-buf may be read.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    dmabuf: &'a Dmabuf,
}

impl Access<'_> {
    /// What it holds.
    pub(crate) const fn memory(&self) -> &Mapping {
        &self.dmabuf.memory
    }
}

impl Drop for Access<'_> {
    fn drop(&mut self) {
        let end = (self.dmabuf.bracket)(self.dmabuf.file.as_fd(), SYNC_READ | SYNC_END);
        if let Err(error) = end {
            // What was read was read; the driver alone has something to end.
            tracing::debug!(%error, "cannot end the access to a dma-buf");
        }
    }
}

fn bracket(dmabuf: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    // `struct dma_buf_sync` is one word of flags.
    const SYNC: Opcode = opcode::write::<u64>(b'b', 0);
    loop {
        // SAFETY: the opcode must take a pointer to the type that is given, and do no more than read
        // it: `DMA_BUF_IOCTL_SYNC` is `_IOW('b', 0, struct dma_buf_sync)`.
        let setter = unsafe { Setter::<SYNC, u64>::new(flags) };
        // SAFETY: as above; the setter owns its word and lives across the call.
        match unsafe { rustix::ioctl::ioctl(dmabuf, setter) } {
            // It waits for devices, and is to be begun anew when a signal ends that (the header says so).
            Err(Errno::INTR | Errno::AGAIN) => {}
            done => return done,
        }
    }
}

/// Copies the first `len` bytes of a dma-buf, of which whoever fills it may be changing some.
///
/// # Errors
///
/// See [`ImportError`]; [`ImportError::Size`] if it has fewer.
pub fn read_dmabuf(dmabuf: BorrowedFd<'_>, len: usize) -> Result<Vec<u8>, ImportError> {
    let file = dmabuf.try_clone_to_owned().map_err(|error| {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        let source = errno.unwrap_or(Errno::MFILE);
        ImportError::Stat { source }
    })?;
    let dmabuf = Dmabuf::import(file)?;
    let has = dmabuf.len();
    if len > has {
        return Err(ImportError::Size { len: has as u64 });
    }
    let mut bytes = vec![0; len];
    dmabuf.access()?.memory().read(0, &mut bytes);
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod stand_in {
    //! Sealed memfds in place of dma-bufs, where the kernel makes none, with the brackets written down.

    use std::cell::RefCell;

    use super::*;

    thread_local! {
        static BRACKETS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }

    /// A memfd sealed against shrinking, taken for a dma-buf.
    pub(crate) fn import(file: OwnedFd) -> Result<Dmabuf, ImportError> {
        let memory = Mapping::of(file.as_fd(), None).ok_or(ImportError::Kind { magic: 0 })?;
        Ok(Dmabuf {
            file,
            memory,
            bracket: |_, flags| {
                BRACKETS.with_borrow_mut(|brackets| brackets.push(flags));
                Ok(())
            },
        })
    }

    /// Accesses of this thread's that have begun and ended, one after another, since this was asked last.
    pub(crate) fn accesses() -> usize {
        let brackets = BRACKETS.take();
        let (pairs, rest) = brackets.as_chunks();
        assert!(rest.is_empty(), "one has not ended: {brackets:?}");
        assert!(
            pairs
                .iter()
                .all(|pair| *pair == [SYNC_READ, SYNC_READ | SYNC_END]),
            "{brackets:?}"
        );
        pairs.len()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::fs::MemfdFlags;
    use rustix::fs::SealFlags;

    use super::*;

    fn sealed(len: u64) -> OwnedFd {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("picture", flags).unwrap();
        rustix::fs::ftruncate(&file, len).unwrap();
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
        file
    }

    #[test]
    fn memfd_is_told_from_a_dmabuf() {
        // However well it is sealed.
        let memfd = sealed(4096);
        let on_disk = OwnedFd::from(File::open("/proc/self/exe").unwrap());
        for file in [memfd, on_disk] {
            let refused = read_dmabuf(file.as_fd(), 1);
            assert!(
                matches!(refused, Err(ImportError::Kind { .. })),
                "{refused:?}"
            );
            let refused = Dmabuf::import(file);
            assert!(
                matches!(refused, Err(ImportError::Kind { .. })),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn access_is_begun_and_ended_once() {
        let dmabuf = stand_in::import(sealed(4096)).unwrap();
        let access = dmabuf.access().unwrap();
        assert_eq!(access.memory().len(), 4096);
        drop(access);
        assert_eq!(stand_in::accesses(), 1);
    }

    #[test]
    fn bracket_of_a_file_that_is_no_dmabuf_is_refused_by_the_kernel() {
        assert_eq!(bracket(sealed(1).as_fd(), SYNC_READ), Err(Errno::NOTTY));
    }
}
