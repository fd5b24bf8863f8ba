//! Where a plane's pixels are read from.

use std::os::fd::BorrowedFd;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;

use crate::dmabuf_fd::Access;
use crate::mapping_fd::Mapping;

/// How much of a file or a device is read at once: it stays in a core's own cache until it has been
/// compared, and requests are few.
const REQUEST: usize = 256 << 10;
/// How much of mapped memory is, or one line: it stays in the cache of the first level, with what it is
/// compared with.
const COPY: usize = 4 << 10;

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
    /// The same file, mapped.
    Mapped {
        memory: &'a Mapping,
        /// Where the region begins in it.
        offset: u64,
        /// Bytes of the region.
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
    /// The region's file, if it has one and can be mapped: only then the offset is one in the file.
    /// Asked anew each time, since the region may lie elsewhere by now.
    pub(crate) fn of_region(device: &'a dyn Device, region: RegionIndex) -> Result<Self, Errno> {
        let Some(fd) = device.region_fd(region) else {
            return Ok(Self::Region { device, region });
        };
        let info = device.region_info(region)?;
        if !info.flags.contains(RegionFlags::MMAP) {
            return Ok(Self::Region { device, region });
        }
        Ok(Self::File {
            fd,
            offset: info.offset,
            size: info.size,
        })
    }

    /// The same by a mapping of its file, if it can be mapped.
    pub(crate) fn mapped(self, mapping: &'a mut Option<Mapping>) -> Self {
        let Self::File { fd, offset, size } = self else {
            return self;
        };
        *mapping = Mapping::of(fd, mapping.take());
        match mapping {
            Some(memory) => Self::Mapped {
                memory,
                offset,
                size,
            },
            None => self,
        }
    }

    /// How many bytes are best read at once.
    pub(crate) const fn at_once(&self) -> usize {
        match self {
            Self::Mapped { .. } | Self::Dmabuf(_) => COPY,
            Self::File { .. } | Self::Region { .. } => REQUEST,
        }
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
            Self::Mapped {
                memory,
                offset,
                size,
            } => {
                let len = within(size, at, bytes.len());
                let from = offset.checked_add(at).ok_or(Errno::EINVAL)?;
                let from = usize::try_from(from).map_err(|_| Errno::EINVAL)?;
                Ok(memory.read(from, &mut bytes[..len]))
            }
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

/// How many of `wanted` bytes from `at` on a region has.
fn within(size: u64, at: u64, wanted: usize) -> usize {
    let left = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX);
    left.min(wanted)
}
