//! `VFIO_DEVICE_GET_REGION_INFO`: how large a region is and what may be done with it.

use zerocopy::FromZeros;
use zerocopy::IntoBytes;

use crate::capability::RawCapability;
use crate::chain;
use crate::chain::Bounds;
use crate::errno::Errno;
use crate::flags::RegionFlags;
use crate::index::RegionIndex;
use crate::info_error::InfoError;
use crate::region_capability::RegionCapability;
use crate::region_capability::RegionType;
use crate::region_capability::SparseArea;
use crate::wire::RegionInfoWire;

const BOUNDS: Bounds = Bounds {
    start: size_of::<RegionInfoWire>(),
    alignment: 8,
};

/// What a region is (`vfio_region_info`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegionInfo {
    /// Which one.
    pub index: RegionIndex,
    /// What may be done with it. Without [`RegionFlags::CAPS`]: the list below says it.
    pub flags: RegionFlags,
    /// Bytes; 0 if the device has no such region.
    pub size: u64,
    /// Where it begins in the device's file. Not for a device without one.
    pub offset: u64,
    /// What else is told of it.
    pub capabilities: Vec<RegionCapability>,
}

impl RegionInfo {
    /// Bytes of the fixed part, all of which must be there.
    pub const SIZE: usize = size_of::<RegionInfoWire>();

    /// What the region is for, if it tells.
    #[must_use]
    pub fn region_type(&self) -> Option<RegionType> {
        self.capabilities
            .iter()
            .find_map(|capability| match capability {
                RegionCapability::Type(region_type) => Some(*region_type),
                _ => None,
            })
    }

    /// The parts that may be mapped, if it is not all of it.
    #[must_use]
    pub fn sparse_areas(&self) -> Option<&[SparseArea]> {
        self.capabilities
            .iter()
            .find_map(|capability| match capability {
                RegionCapability::SparseMmap(areas) => Some(areas.as_slice()),
                _ => None,
            })
    }

    /// The region an encoded request asks for.
    ///
    /// # Errors
    ///
    /// EFAULT if the slice ends within the fixed part, EINVAL if `argsz` does.
    pub fn decode_request(bytes: &[u8]) -> Result<(RegionIndex, u32), Errno> {
        let mut wire = RegionInfoWire::new_zeroed();
        chain::request(bytes, Self::SIZE, wire.as_mut_bytes())?;
        chain::room(wire.argsz, Self::SIZE)?;
        Ok((RegionIndex(wire.index), wire.argsz))
    }

    /// What a driver writes back to a caller that offers `argsz` bytes, at most that many.
    ///
    /// Capabilities that do not fit are left out, and the answer's `argsz` says what they take.
    ///
    /// # Errors
    ///
    /// EINVAL if `argsz` is less than 32, ENOMEM if the capabilities are more than
    /// [`CAPABILITIES_MAX`](crate::CAPABILITIES_MAX), or take more than
    /// [`ARGSZ_MAX`](crate::ARGSZ_MAX).
    pub fn encode(&self, argsz: u32) -> Result<Vec<u8>, Errno> {
        chain::room(argsz, Self::SIZE)?;
        let raw: Vec<RawCapability> = self
            .capabilities
            .iter()
            .map(RegionCapability::to_raw)
            .collect();
        let fit = chain::fit(argsz, Self::SIZE, &raw)?;
        let mut flags = self.flags;
        flags.set(RegionFlags::CAPS, !raw.is_empty());
        let wire = RegionInfoWire {
            argsz: fit.argsz,
            flags: flags.bits(),
            index: self.index.0,
            cap_offset: fit.cap_offset,
            size: self.size,
            offset: self.offset,
        };
        let mut bytes = wire.as_bytes().to_vec();
        bytes.extend(fit.chain);
        Ok(bytes)
    }

    /// Reads what a driver wrote back.
    ///
    /// # Errors
    ///
    /// [`InfoError::BufferTooSmall`] if there are capabilities and the buffer did not hold them;
    /// the others if the structure is cut off or its chain makes no sense.
    pub fn decode(bytes: &[u8]) -> Result<Self, InfoError> {
        let mut wire = RegionInfoWire::new_zeroed();
        let bytes = chain::fixed_part(bytes, Self::SIZE, wire.as_mut_bytes())?;
        let mut flags = RegionFlags::from_bits_retain(wire.flags);
        let entries = if flags.contains(RegionFlags::CAPS) {
            chain::entries(bytes, wire.argsz, wire.cap_offset, BOUNDS)?
        } else {
            Vec::new()
        };
        flags.remove(RegionFlags::CAPS);
        let capabilities = entries
            .iter()
            .map(RegionCapability::from_entry)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            index: RegionIndex(wire.index),
            flags,
            size: wire.size,
            offset: wire.offset,
            capabilities,
        })
    }
}

#[cfg(test)]
mod tests;
