//! The regions of a device, and what an access to one does.

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;

use crate::config_space;
use crate::config_space::ConfigEffect;
use crate::device::Asker;
use crate::device::Plane;
use crate::device::VgpuDevice;
use crate::edid_region::EdidRegion;
use crate::msix_table;
use crate::registers;
use crate::registers::Effect;

/// The EDID of the first head.
const EDID: RegionIndex = RegionIndex(RegionIndex::PCI_NUM);
/// Its primary plane.
const PRIMARY: RegionIndex = RegionIndex(RegionIndex::PCI_NUM + 1);
/// Its cursor.
const CURSOR: RegionIndex = RegionIndex(RegionIndex::PCI_NUM + 2);
/// How many indexes there are.
pub(crate) const NUM_REGIONS: u32 = CURSOR.0 + 1;

/// Where a plane of the first head is.
pub(crate) const fn region_of(plane: Plane) -> RegionIndex {
    match plane {
        Plane::Primary => PRIMARY,
        Plane::Cursor => CURSOR,
    }
}

const READ_WRITE: RegionFlags = RegionFlags::READ.union(RegionFlags::WRITE);

/// Who resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reset {
    /// The user of the device: nothing is left of whoever had it before.
    Device,
    /// The guest. What is plugged into a function is not the function's.
    Function,
}

/// A region that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Region {
    Vram,
    Registers,
    MsixTable,
    Config,
    /// The EDID of the first head.
    Edid,
    /// A plane of the first head, as of the latest query.
    Plane(Plane),
}

impl Region {
    pub(crate) const fn of(index: RegionIndex) -> Option<Self> {
        match index {
            RegionIndex::BAR0 => Some(Self::Vram),
            RegionIndex::BAR2 => Some(Self::Registers),
            RegionIndex::BAR4 => Some(Self::MsixTable),
            RegionIndex::CONFIG => Some(Self::Config),
            EDID => Some(Self::Edid),
            PRIMARY => Some(Self::Plane(Plane::Primary)),
            CURSOR => Some(Self::Plane(Plane::Cursor)),
            _ => None,
        }
    }
}

impl VgpuDevice {
    pub(crate) fn region(&self, index: RegionIndex) -> Result<RegionInfo, Errno> {
        let Some(region) = Region::of(index) else {
            return RegionInfo::absent_pci(index, 0);
        };
        let flags = match region {
            Region::Edid => return Ok(self.edid_region_info(index)),
            Region::Plane(plane) => return self.window_info(Asker::Device, plane, index),
            Region::Vram => READ_WRITE | RegionFlags::MMAP,
            _ => READ_WRITE,
        };
        Ok(RegionInfo {
            index,
            flags,
            size: self.region_size(region),
            // Each region that can be mapped has a file of its own.
            offset: 0,
            capabilities: Vec::new(),
        })
    }

    fn region_size(&self, region: Region) -> u64 {
        match region {
            Region::Edid => EdidRegion::SIZE as u64,
            // As large as what was told last: see `read_window`.
            Region::Plane(_) => 0,
            Region::Vram => self.vram.size(),
            Region::Registers => registers::SIZE as u64,
            Region::MsixTable => msix_table::SIZE as u64,
            Region::Config => config_space::SIZE as u64,
        }
    }

    /// How many bytes of an access are within the region.
    ///
    /// # Errors
    ///
    /// EINVAL if the region is not there or ends before the access.
    fn within(
        &self,
        index: RegionIndex,
        offset: u64,
        len: usize,
    ) -> Result<(Region, usize), Errno> {
        let region = Region::of(index).ok_or(Errno::EINVAL)?;
        let left = self.region_size(region).checked_sub(offset);
        let left = left.filter(|&left| left > 0).ok_or(Errno::EINVAL)?;
        Ok((region, usize::try_from(left).unwrap_or(usize::MAX).min(len)))
    }

    pub(crate) fn read_region(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        if let Some(Region::Plane(plane)) = Region::of(index) {
            return self.read_window(Asker::Device, plane, offset, data);
        }
        let (region, len) = self.within(index, offset, data.len())?;
        let data = &mut data[..len];
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        match region {
            Region::Plane(_) => return Err(Errno::EINVAL),
            Region::Edid => return self.read_edid_region(0, offset, data),
            Region::Vram => self.vram.read(offset, data)?,
            Region::Registers => self.read_registers(at, data),
            Region::MsixTable => self.lock().table.read(at, data),
            Region::Config => self.lock().config.read(at, data),
        }
        Ok(len)
    }

    pub(crate) fn write_region(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, Errno> {
        let (region, len) = self.within(index, offset, data.len())?;
        let data = &data[..len];
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        match region {
            Region::Plane(_) => return Err(Errno::EINVAL),
            Region::Edid => return self.write_edid_region(0, offset, data),
            Region::Vram => self.vram.write(offset, data)?,
            Region::Registers => self.write_registers(at, data)?,
            Region::MsixTable => self.lock().table.write(at, data),
            Region::Config => {
                let effect = self.lock().config.write(at, data);
                if effect == ConfigEffect::Reset {
                    self.reset_all(Reset::Function)?;
                }
            }
        }
        Ok(len)
    }

    /// Registers, configuration and VRAM as they were in the beginning.
    pub(crate) fn reset_all(&self, reset: Reset) -> Result<(), Errno> {
        // First, so that a device whose memory does not obey is not reset by half.
        self.vram.clear(self.vram.size())?;
        let mut state = self.lock();
        state.cleared += 1;
        state.reset(&self.instance, reset);
        for head in 0..self.ports.len() {
            state.rearm(&self.instance, head);
        }
        Ok(())
    }

    fn read_registers(&self, at: usize, data: &mut [u8]) {
        let mut state = self.lock();
        // The EDID depends on the head it is of, the mode registers on none.
        let heads = if at + data.len() > registers::BLOCK {
            self.ports.len()
        } else {
            state.registers.edid_views()
        };
        let views = state.views(&self.instance, heads);
        state.registers.read(at, data, &views);
    }

    fn write_registers(&self, at: usize, data: &[u8]) -> Result<(), Errno> {
        let mut effects = Vec::new();
        let mut state = self.lock();
        state.registers.write(at, data, &mut effects);
        let mut clear = 0;
        for effect in effects {
            if let Effect::ClearVram { len } = effect {
                clear = len;
            }
            if let Some(head) = state.apply(&self.instance, effect) {
                state.rearm(&self.instance, head);
            }
        }
        drop(state);
        if clear != 0 {
            self.vram.clear(clear)?;
            // Afterwards: a picture exported meanwhile may have been either.
            self.lock().cleared += 1;
        }
        Ok(())
    }
}
