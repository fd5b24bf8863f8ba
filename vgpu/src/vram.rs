//! The memory of a vGPU: a sealed memfd that VMM, display and device share.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::fs::FallocateFlags;
use rustix::fs::MemfdFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::SealFlags;
use rustix::io::Errno;

/// VRAM. Nobody who has the fd can shrink or grow it, so a mapping of it never faults.
///
/// It is read and written with system calls here, not mapped: the guest changes it at any time.
#[derive(Debug)]
pub(crate) struct Vram {
    memory: OwnedFd,
    /// The same memory, opened for reading alone.
    read_only: OwnedFd,
    size: u64,
}

impl Vram {
    pub(crate) fn new(size: u64) -> Result<Self, Errno> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = rustix::fs::memfd_create("irqbroker-vram", flags)?;
        rustix::fs::ftruncate(&memory, size)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&memory, seals)?;
        let link = format!("/proc/self/fd/{}", memory.as_raw_fd());
        let read_only = rustix::fs::open(link, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        // A memfd is everybody's to open, and whoever has an fd of it finds it in procfs: who looks could
        // open it again to write. Now nobody opens it but root, or its owner after giving it bits again.
        rustix::fs::fchmod(&memory, Mode::empty())?;
        Ok(Self {
            memory,
            read_only,
            size,
        })
    }

    /// One of `size` bytes in a file of the test's own.
    #[cfg(test)]
    pub(crate) fn within(memory: OwnedFd, size: u64) -> Self {
        let read_only = memory.try_clone().unwrap();
        Self {
            memory,
            read_only,
            size,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    pub(crate) fn read_only_fd(&self) -> BorrowedFd<'_> {
        self.read_only.as_fd()
    }

    /// Fills `data` from `offset` on, both within it.
    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < data.len() {
            match rustix::io::pread(&self.memory, &mut data[done..], offset + done as u64) {
                Ok(0) => return Err(Errno::IO),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes `data` from `offset` on, both within it.
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < data.len() {
            match rustix::io::pwrite(&self.memory, &data[done..], offset + done as u64) {
                Ok(0) => return Err(Errno::IO),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes the first `len` bytes zero and gives their memory back.
    pub(crate) fn clear(&self, len: u64) -> Result<(), Errno> {
        let len = len.min(self.size);
        if len == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&self.memory, flags, 0, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::Uid;

    /// The user that owns nothing (`fs.overflowuid`).
    const NOBODY: u32 = 65_534;

    #[test]
    fn memory_reads_as_written_and_as_zero_after_clear() {
        let vram = Vram::new(1 << 16).unwrap();
        vram.write(0xfff0, &[7; 16]).unwrap();
        vram.write(0, &[9; 5000]).unwrap();
        vram.clear(4999).unwrap();
        let mut data = [1; 5000];
        vram.read(0, &mut data).unwrap();
        assert_eq!((data[4998], data[4999]), (0, 9));
        vram.clear(u64::MAX).unwrap();
        vram.read(0xfff0, &mut data[..16]).unwrap();
        assert_eq!(data[..16], [0; 16]);
    }

    #[test]
    fn file_for_lookers_on_is_the_same_memory_and_cannot_be_written() {
        let vram = Vram::new(1 << 16).unwrap();
        vram.write(7, &[9]).unwrap();
        let mut data = [0];
        rustix::io::pread(vram.read_only_fd(), &mut data, 7).unwrap();
        assert_eq!(data, [9]);
        let refused = rustix::io::pwrite(vram.read_only_fd(), &[1], 7);
        assert_eq!(refused, Err(Errno::BADF));

        // What keeps others from opening it again, whoever runs this.
        let mode = rustix::fs::fstat(vram.fd()).unwrap().st_mode;
        assert_eq!(Mode::from_raw_mode(mode), Mode::empty());

        let link = format!("/proc/self/fd/{}", vram.read_only_fd().as_raw_fd());
        let reopened = std::thread::spawn(move || {
            // Root may open everything; the user of this thread alone is another one then.
            if rustix::process::geteuid().is_root() {
                let nobody = Uid::from_raw(NOBODY);
                match rustix::thread::set_thread_res_uid(nobody, nobody, nobody) {
                    // Root of a container: there is nobody to try it as.
                    Err(Errno::PERM | Errno::INVAL) => {
                        eprintln!("not opened again: this root cannot become another user");
                        return;
                    }
                    became => became.unwrap(),
                }
            }
            for how in [OFlags::RDWR, OFlags::WRONLY, OFlags::RDONLY] {
                let opened = rustix::fs::open(&*link, how | OFlags::CLOEXEC, Mode::empty());
                assert_eq!(opened.err(), Some(Errno::ACCESS), "{how:?}");
            }
        });
        reopened.join().unwrap();
    }

    #[test]
    fn size_cannot_be_changed_by_whoever_has_the_fd() {
        let vram = Vram::new(1 << 16).unwrap();
        assert_eq!(rustix::fs::ftruncate(vram.fd(), 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(vram.fd(), 1 << 17), Err(Errno::PERM));
        let unseal = rustix::fs::fcntl_add_seals(vram.fd(), SealFlags::WRITE);
        assert_eq!(unseal, Err(Errno::PERM));
    }
}
