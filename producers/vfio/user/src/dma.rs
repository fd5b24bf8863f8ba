//! `VFIO_USER_DMA_MAP` and `VFIO_USER_DMA_UNMAP`: guest memory that a client lends.

use std::fmt::Debug;
use std::os::fd::OwnedFd;

use bitflags::bitflags;
use zerocopy::FromBytes;

use irqbroker_vfio_abi::Errno;

use crate::wire::DmaMapWire;
use crate::wire::DmaUnmapWire;

bitflags! {
    /// What a server may do with memory, and how.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct DmaFlags: u32 {
        /// Read it.
        const READ = 1 << 0;
        /// Write it.
        const WRITE = 1 << 1;
        /// Map its file. Not of the specification, but of libvfio-user; without it a file is to
        /// be mapped all the same.
        const MMAP = 1 << 2;
        /// Read and write its file. Not of the specification, but of libvfio-user.
        const FILE_IO = 1 << 3;
    }

    /// Flags of an unmap, those of the kernel's `vfio_iommu_type1_dma_unmap`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    struct DmaUnmapFlags: u32 {
        /// Wants a bitmap of the pages that were written.
        const GET_DIRTY_BITMAP = 1 << 0;
        /// Unmap everything.
        const ALL = 1 << 1;
    }
}

/// A piece of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaRegion {
    /// Where the device finds it.
    pub address: u64,
    /// Bytes; not 0.
    pub size: u64,
    /// Where it begins in its file, if it has one.
    pub offset: u64,
    /// What may be done with it.
    pub flags: DmaFlags,
}

/// A range of addresses that is not empty. It may end with the last one there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaRange {
    address: u64,
    size: u64,
}

/// What is to be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmaUnmap {
    /// All there is.
    All,
    /// What is within a range.
    Range(DmaRange),
}

/// Where a server tells of the memory that its client lends.
///
/// Called on the thread that services the server.
pub trait DmaSpace: Debug + Send + Sync {
    /// The device may access `region` from now on: in `file`, or, without one, not at all, since
    /// this server sends no DMA messages. It overlaps no other.
    ///
    /// # Errors
    ///
    /// Passed on to the client, and the region is not mapped.
    fn map(&self, region: &DmaRegion, file: Option<OwnedFd>) -> Result<(), Errno>;

    /// The device must not access `region`, which was mapped, once this returns.
    fn unmap(&self, region: &DmaRegion);
}

impl DmaRange {
    /// A range.
    ///
    /// # Errors
    ///
    /// EINVAL if it is empty or wraps around.
    pub fn new(address: u64, size: u64) -> Result<Self, Errno> {
        let last = size.checked_sub(1).and_then(|len| address.checked_add(len));
        last.map(|_| Self { address, size }).ok_or(Errno::EINVAL)
    }

    /// The first address.
    #[must_use]
    pub const fn first(self) -> u64 {
        self.address
    }

    /// The last address.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.address + (self.size - 1)
    }

    /// Bytes.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.size
    }
}

impl DmaRegion {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// EINVAL if it is cut off, has flags that do not exist, or is an empty range or one that
    /// wraps around, in memory or in the file.
    pub fn decode(payload: &[u8]) -> Result<Self, Errno> {
        let (wire, _) = DmaMapWire::read_from_prefix(payload).map_err(|_| Errno::EINVAL)?;
        if !room(wire.argsz, size_of::<DmaMapWire>()) {
            return Err(Errno::EINVAL);
        }
        DmaRange::new(wire.address, wire.size)?;
        DmaRange::new(wire.offset, wire.size)?;
        Ok(Self {
            address: wire.address,
            size: wire.size,
            offset: wire.offset,
            flags: DmaFlags::from_bits(wire.flags).ok_or(Errno::EINVAL)?,
        })
    }

    /// The payload of the request.
    #[must_use]
    pub fn encode(&self) -> [u8; size_of::<DmaMapWire>()] {
        zerocopy::transmute!(DmaMapWire {
            argsz: ARGSZ_MAP,
            flags: self.flags.bits(),
            offset: self.offset,
            address: self.address,
            size: self.size,
        })
    }

    /// Its addresses.
    ///
    /// # Errors
    ///
    /// EINVAL if there are none, or if they wrap around.
    pub fn range(&self) -> Result<DmaRange, Errno> {
        DmaRange::new(self.address, self.size)
    }
}

impl DmaUnmap {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// EINVAL if it is cut off, has flags that do not exist, is an empty range or one that wraps
    /// around, or is for everything and has a range. EOPNOTSUPP if it wants to know which pages
    /// were written.
    pub fn decode(payload: &[u8]) -> Result<Self, Errno> {
        let (wire, _) = DmaUnmapWire::read_from_prefix(payload).map_err(|_| Errno::EINVAL)?;
        if !room(wire.argsz, size_of::<DmaUnmapWire>()) {
            return Err(Errno::EINVAL);
        }
        match DmaUnmapFlags::from_bits(wire.flags) {
            Some(flags) if flags.is_empty() => {
                Ok(Self::Range(DmaRange::new(wire.address, wire.size)?))
            }
            Some(DmaUnmapFlags::ALL) if wire.address == 0 && wire.size == 0 => Ok(Self::All),
            Some(DmaUnmapFlags::GET_DIRTY_BITMAP) => Err(Errno::EOPNOTSUPP),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The payload of the request, and of its reply.
    #[must_use]
    pub fn encode(self) -> [u8; size_of::<DmaUnmapWire>()] {
        let wire = match self {
            Self::All => DmaUnmapWire {
                flags: DmaUnmapFlags::ALL.bits(),
                ..DmaUnmapWire::default()
            },
            Self::Range(range) => DmaUnmapWire {
                address: range.address,
                size: range.size,
                ..DmaUnmapWire::default()
            },
        };
        zerocopy::transmute!(DmaUnmapWire {
            argsz: ARGSZ_UNMAP,
            ..wire
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "32; no conversion is const"
)]
const ARGSZ_MAP: u32 = size_of::<DmaMapWire>() as u32;
#[expect(
    clippy::cast_possible_truncation,
    reason = "24; no conversion is const"
)]
const ARGSZ_UNMAP: u32 = size_of::<DmaUnmapWire>() as u32;

fn room(argsz: u32, needed: usize) -> bool {
    usize::try_from(argsz).is_ok_and(|argsz| argsz >= needed) || argsz == u32::MAX
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    /// The first map of QEMU: all of a guest's RAM of 1 GiB.
    const RAM: DmaRegion = DmaRegion {
        address: 0,
        size: 1 << 30,
        offset: 0,
        flags: DmaFlags::READ.union(DmaFlags::WRITE),
    };

    fn unmap(flags: u32, address: u64, size: u64) -> Result<DmaUnmap, Errno> {
        let wire = DmaUnmapWire {
            argsz: 24,
            flags,
            address,
            size,
        };
        DmaUnmap::decode(wire.as_bytes())
    }

    #[test]
    fn map_survives_the_wire() {
        assert_eq!(DmaRegion::decode(&RAM.encode()), Ok(RAM));
        assert_eq!(RAM.encode()[..8], [32, 0, 0, 0, 3, 0, 0, 0]);
    }

    #[test]
    fn map_that_is_empty_or_wraps_around_or_has_unknown_flags_is_refused() {
        let refused = [
            DmaRegion { size: 0, ..RAM },
            DmaRegion {
                address: u64::MAX,
                size: 2,
                ..RAM
            },
            DmaRegion {
                offset: u64::MAX,
                size: 2,
                ..RAM
            },
            DmaRegion {
                flags: DmaFlags::from_bits_retain(1 << 4),
                ..RAM
            },
        ];

        for region in refused {
            assert_eq!(DmaRegion::decode(&region.encode()), Err(Errno::EINVAL));
        }
        assert_eq!(DmaRegion::decode(&RAM.encode()[..31]), Err(Errno::EINVAL));
    }

    #[test]
    fn argsz_that_is_too_small_is_refused() {
        let mut map = RAM.encode();
        map[0] = 31;
        let mut all = DmaUnmap::All.encode();
        all[0] = 23;

        assert_eq!(DmaRegion::decode(&map), Err(Errno::EINVAL));
        assert_eq!(DmaUnmap::decode(&all), Err(Errno::EINVAL));
    }

    #[test]
    fn range_may_end_with_the_last_address() {
        let range = DmaRange::new(1 << 63, 1 << 63).expect("the upper half");

        assert_eq!(range.last(), u64::MAX);
        assert_eq!(unmap(0, 1 << 63, 1 << 63), Ok(DmaUnmap::Range(range)));
    }

    #[test]
    fn unmap_of_everything_has_no_range() {
        assert_eq!(unmap(2, 0, 0), Ok(DmaUnmap::All));
        assert_eq!(unmap(2, 0, 4096), Err(Errno::EINVAL));
        assert_eq!(DmaUnmap::decode(&DmaUnmap::All.encode()), Ok(DmaUnmap::All));
    }

    #[test]
    fn unmap_with_a_bitmap_is_not_supported_and_with_unknown_flags_refused() {
        assert_eq!(unmap(1, 0, 4096), Err(Errno::EOPNOTSUPP));
        assert_eq!(unmap(3, 0, 0), Err(Errno::EINVAL));
        assert_eq!(unmap(4, 0, 4096), Err(Errno::EINVAL));
        assert_eq!(unmap(0, 0, 0), Err(Errno::EINVAL));
    }
}
