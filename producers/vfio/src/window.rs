//! Where a region lies in a device's file.

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionInfo;

/// A region's place in the device's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) flags: RegionFlags,
    offset: u64,
    size: u64,
}

impl Window {
    pub(crate) fn of(info: &RegionInfo) -> Self {
        Self {
            flags: info.flags,
            offset: info.offset,
            size: info.size,
        }
    }

    /// Where in the file `offset` of the region is, and how many of `len` bytes lie in the
    /// region: the next one begins right behind it with some drivers.
    ///
    /// # Errors
    ///
    /// EINVAL beyond the region, and for an end that no file offset reaches.
    pub(crate) fn place(&self, offset: u64, len: usize) -> Result<(u64, usize), Errno> {
        let left = self.size.checked_sub(offset).filter(|left| *left > 0);
        let left = usize::try_from(left.ok_or(Errno::EINVAL)?).unwrap_or(usize::MAX);
        let at = self.offset.checked_add(offset).ok_or(Errno::EINVAL)?;
        Ok((at, len.min(left)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Window = Window {
        flags: RegionFlags::READ,
        offset: 7 << 40,
        size: 256,
    };

    #[test]
    fn place_within_the_region_is_shifted_and_cut_at_its_end() {
        assert_eq!(CONFIG.place(4, 2), Ok(((7 << 40) + 4, 2)));
        assert_eq!(CONFIG.place(252, 8), Ok(((7 << 40) + 252, 4)));
    }

    #[test]
    fn place_beyond_the_region_is_refused() {
        assert_eq!(CONFIG.place(256, 1), Err(Errno::EINVAL));
        assert_eq!(CONFIG.place(u64::MAX, 1), Err(Errno::EINVAL));
        let absurd = Window {
            offset: u64::MAX,
            ..CONFIG
        };
        assert_eq!(absurd.place(1, 1), Err(Errno::EINVAL));
    }
}
