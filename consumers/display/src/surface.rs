//! Where a plane's pixels are read from.

use std::os::fd::BorrowedFd;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;

use crate::dmabuf_fd::Access;
use crate::mapping_fd::Mapping;

/// How much of a file or a device is best read at once: it stays in a core's own cache until it has been
/// compared, and requests are few.
pub(crate) const REQUEST: usize = 256 << 10;

/// What a picture is read from.
#[derive(Debug)]
pub(crate) enum Surface<'a> {
    /// The file a region is mapped from, which needs no request to the device.
    File {
        fd: BorrowedFd<'a>,
        /// Where the region begins in it.
        offset: u64,
        /// Bytes of the region: what is beyond is not its.
        size: u64,
    },
    /// A dma-buf, mapped, from its first byte on.
    Dmabuf(Access<'a>),
    /// A region that has no file.
    Region {
        device: &'a dyn Device,
        region: RegionIndex,
    },
}

impl<'a> Surface<'a> {
    /// The region's file, if it has one and can be mapped: only then the offset is one in the file; and how
    /// many bytes the region has.
    /// Asked anew each time, since the region may lie elsewhere by now.
    pub(crate) fn of_region(
        device: &'a dyn Device,
        region: RegionIndex,
    ) -> Result<(Self, u64), Errno> {
        let info = device.region_info(region)?;
        let size = info.size;
        let surface = match device.region_fd(region) {
            Some(fd) if info.flags.contains(RegionFlags::MMAP) => Self::File {
                fd,
                offset: info.offset,
                size,
            },
            _ => Self::Region { device, region },
        };
        Ok((surface, size))
    }

    /// The same in memory, if it is there or the file can be mapped.
    pub(crate) fn mapped<'m>(
        &'m self,
        mapping: &'m mut Option<Mapping>,
    ) -> Option<MappedSurface<'m>> {
        let (fd, offset, size) = match *self {
            Self::File { fd, offset, size } => (fd, offset, size),
            Self::Dmabuf(ref access) => {
                let memory = access.memory();
                return Some(MappedSurface {
                    memory,
                    offset: 0,
                    size: memory.len() as u64,
                });
            }
            Self::Region { .. } => return None,
        };
        *mapping = Mapping::of(fd, mapping.take());
        mapping.as_ref().map(|memory| MappedSurface {
            memory,
            offset,
            size,
        })
    }

    /// Reads from `at` on, and returns how many bytes that were: less only at the end.
    pub(crate) fn read(&self, at: u64, bytes: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < bytes.len() {
            let from = at.checked_add(done as u64).ok_or(Errno::EINVAL)?;
            let count = self.read_some(from, &mut bytes[done..])?;
            if count == 0 {
                break;
            }
            done += count.min(bytes.len() - done);
        }
        Ok(done)
    }

    fn read_some(&self, at: u64, bytes: &mut [u8]) -> Result<usize, Errno> {
        match *self {
            Self::Dmabuf(ref access) => {
                let from = usize::try_from(at).map_err(|_| Errno::EINVAL)?;
                Ok(access.memory().read(from, bytes))
            }
            Self::Region { device, region } => device.region_read(region, at, bytes),
            Self::File { fd, offset, size } => {
                let len = within(size, at, bytes.len());
                let from = offset.checked_add(at).ok_or(Errno::EINVAL)?;
                loop {
                    match rustix::io::pread(fd, &mut bytes[..len], from) {
                        Err(rustix::io::Errno::INTR) => {}
                        read => return Ok(read?),
                    }
                }
            }
        }
    }
}

/// A region or a dma-buf in memory that others write to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MappedSurface<'a> {
    memory: &'a Mapping,
    /// Where it begins in the file.
    offset: u64,
    /// Bytes.
    size: u64,
}

impl<'a> MappedSurface<'a> {
    /// A line of `len` bytes from `at` on, if it lies within it and its file.
    pub(crate) fn line(&self, at: u64, len: usize) -> Option<MappedLine<'a>> {
        let end = at.checked_add(len as u64)?;
        let in_file = |at: u64| usize::try_from(self.offset.checked_add(at)?).ok();
        let from = in_file(at)?;
        let fits = end <= self.size && in_file(end)? <= self.memory.len();
        fits.then_some(MappedLine {
            memory: self.memory,
            from,
        })
    }
}

/// A line of a picture where it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MappedLine<'a> {
    memory: &'a Mapping,
    from: usize,
}

impl MappedLine<'_> {
    /// Copies what is there now, from a byte of the line on.
    pub(crate) fn read(&self, at: usize, bytes: &mut [u8]) {
        self.memory.read(self.from + at, bytes);
    }
}

/// How many of `wanted` bytes from `at` on a region has.
fn within(size: u64, at: u64, wanted: usize) -> usize {
    let left = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX);
    left.min(wanted)
}
