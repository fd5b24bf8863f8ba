//! How vfio-pci describes what a device does not have (`vfio_pci_core.c`).

use crate::errno::Errno;
use crate::flags::IrqFlags;
use crate::flags::RegionFlags;
use crate::index::IrqIndex;
use crate::index::RegionIndex;
use crate::irq_info::IrqInfo;
use crate::region_info::RegionInfo;

impl RegionInfo {
    /// What vfio-pci answers for a region the device lacks: a BAR or ROM of size 0 that nothing
    /// may be done with.
    ///
    /// # Errors
    ///
    /// EINVAL for the VGA ranges, which are known only of a VGA device, and for indexes beyond.
    pub fn absent_pci(index: RegionIndex, offset: u64) -> Result<Self, Errno> {
        if index.0 >= RegionIndex::VGA.0 {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            index,
            flags: RegionFlags::empty(),
            size: 0,
            offset,
            capabilities: Vec::new(),
        })
    }
}

impl IrqInfo {
    /// The flags of vfio-pci's indexes on any kernel. Where MSI-X vectors are allocated on demand
    /// [`IrqFlags::NORESIZE`] is cleared for [`IrqIndex::MSIX`].
    #[must_use]
    pub fn pci_flags(index: IrqIndex) -> IrqFlags {
        if index == IrqIndex::INTX {
            IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED
        } else {
            IrqFlags::EVENTFD | IrqFlags::NORESIZE
        }
    }

    /// What vfio-pci answers for an interrupt the device lacks: a count of 0.
    ///
    /// # Errors
    ///
    /// EINVAL for ERR, which only PCI Express devices have, and for indexes vfio-pci lacks. REQ is
    /// never absent, and refused too.
    pub fn absent_pci(index: IrqIndex) -> Result<Self, Errno> {
        if index.0 > IrqIndex::MSIX.0 {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            index,
            flags: Self::pci_flags(index),
            count: 0,
            capabilities: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_rom_has_size_0_and_absent_vga_is_refused() {
        let rom = RegionInfo::absent_pci(RegionIndex::ROM, 6 << 40);

        assert_eq!(
            rom.map(|rom| (rom.size, rom.flags)),
            Ok((0, RegionFlags::empty()))
        );
        assert_eq!(
            RegionInfo::absent_pci(RegionIndex::VGA, 8 << 40),
            Err(Errno::EINVAL)
        );
        assert_eq!(
            RegionInfo::absent_pci(RegionIndex(9), 9 << 40),
            Err(Errno::EINVAL)
        );
    }

    #[test]
    fn absent_msix_has_count_0_and_absent_err_is_refused() {
        let msix = IrqInfo::absent_pci(IrqIndex::MSIX);

        assert_eq!(msix.map(|msix| (msix.count, msix.flags.bits())), Ok((0, 9)));
        assert_eq!(IrqInfo::absent_pci(IrqIndex::ERR), Err(Errno::EINVAL));
        assert_eq!(IrqInfo::absent_pci(IrqIndex(5)), Err(Errno::EINVAL));
    }

    #[test]
    fn pci_flags_are_those_read_from_a_real_device() {
        let flags = [0, 1, 2, 3, 4].map(|index| IrqInfo::pci_flags(IrqIndex(index)).bits());

        assert_eq!(flags, [7, 9, 9, 9, 9]);
    }
}
