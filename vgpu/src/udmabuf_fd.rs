//! Parts of a memfd as dma-bufs, by the kernel's udmabuf.
#![expect(unsafe_code, reason = "an ioctl that no crate wraps")]
// UNSAFETY: UDMABUF_CREATE takes a pointer to a structure and answers with a new fd.

use std::ffi::c_void;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::ioctl::Ioctl;
use rustix::ioctl::IoctlOutput;
use rustix::ioctl::Opcode;
use rustix::ioctl::opcode;

use crate::export::ExportDmabuf;

const NODE: &str = "/dev/udmabuf";
const FLAGS_CLOEXEC: u32 = 1;

/// `struct udmabuf_create` (`include/uapi/linux/udmabuf.h`).
#[repr(C)]
struct Create {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

/// `/dev/udmabuf` of the running kernel.
#[derive(Debug)]
pub(crate) struct UdmabufFd {
    node: OwnedFd,
}

impl UdmabufFd {
    /// Opens it, where the kernel has it and the process may.
    pub(crate) fn open() -> Option<Self> {
        match rustix::fs::open(NODE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            Ok(node) => Some(Self { node }),
            Err(error) => {
                tracing::debug!(%error, "no {NODE}: pictures are in regions alone");
                None
            }
        }
    }
}

impl ExportDmabuf for UdmabufFd {
    fn export(&self, memory: BorrowedFd<'_>, offset: u64, size: u64) -> Result<OwnedFd, Errno> {
        let create = Create {
            memfd: u32::try_from(memory.as_raw_fd()).map_err(|_| Errno::BADF)?,
            flags: FLAGS_CLOEXEC,
            offset,
            size,
        };
        // SAFETY: the opcode must be that of the structure, and the answer a new fd of the
        // caller's: both are what `CreateIoctl` says of itself below.
        unsafe { rustix::ioctl::ioctl(&self.node, CreateIoctl(create)) }
    }
}

/// `UDMABUF_CREATE`.
struct CreateIoctl(Create);

// SAFETY: the opcode is `_IOW('u', 0x42, struct udmabuf_create)`, of the structure whose address
// `as_ptr` gives and which lives as long as `self`; the kernel only reads it. What it answers is
// taken for nothing but an fd.
unsafe impl Ioctl for CreateIoctl {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        opcode::write::<Create>(b'u', 0x42)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(
        output: IoctlOutput,
        _: *mut c_void,
    ) -> rustix::io::Result<Self::Output> {
        // SAFETY: the fd must be open and owned by nobody else. rustix calls this only after the
        // ioctl has succeeded, whose answer is then an fd that was made for the caller.
        Ok(unsafe { OwnedFd::from_raw_fd(output) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structure_and_number_are_the_kernels() {
        assert_eq!(size_of::<Create>(), 24);
        assert_eq!(opcode::write::<Create>(b'u', 0x42), 0x4018_7542);
    }
}
