//! `VFIO_DEVICE_GET_INFO`: what a device is and how many regions and interrupts it has.

use std::mem::offset_of;

use zerocopy::FromZeros;
use zerocopy::IntoBytes;

use crate::capability::RawCapability;
use crate::chain;
use crate::chain::Bounds;
use crate::chain::Entry;
use crate::errno::Errno;
use crate::flags::DeviceFlags;
use crate::info_error::InfoError;
use crate::wire::DeviceInfoWire;

/// Bytes that every kernel reads and fills in.
const MINIMUM: usize = offset_of!(DeviceInfoWire, cap_offset);

/// Kernels before 6.6 have no padding behind `cap_offset` and lay the chain out at 20.
const BOUNDS: Bounds = Bounds {
    start: offset_of!(DeviceInfoWire, pad),
    alignment: 4,
};

/// What a device is (`vfio_device_info`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeviceInfo {
    /// Which bus's indexes the numbers below count, and whether it can be reset. Without
    /// [`DeviceFlags::CAPS`]: the list below says it.
    pub flags: DeviceFlags,
    /// Highest region index plus one.
    pub num_regions: u32,
    /// Highest interrupt index plus one.
    pub num_irqs: u32,
    /// What else is told of the device; so far only s390 PCI and PCI atomics have something.
    pub capabilities: Vec<RawCapability>,
}

impl DeviceInfo {
    /// Bytes of the fixed part, as far as this crate knows it.
    pub const SIZE: usize = size_of::<DeviceInfoWire>();

    /// The room an encoded request offers.
    ///
    /// # Errors
    ///
    /// EFAULT if the slice ends within the first 16 bytes, EINVAL if `argsz` does.
    pub fn decode_request(bytes: &[u8]) -> Result<u32, Errno> {
        let mut wire = DeviceInfoWire::new_zeroed();
        chain::request(bytes, MINIMUM, wire.as_mut_bytes())?;
        chain::room(wire.argsz, MINIMUM)?;
        Ok(wire.argsz)
    }

    /// What a driver writes back to a caller that offers `argsz` bytes, at most that many.
    ///
    /// Capabilities that do not fit are left out, and the answer's `argsz` says what they take.
    ///
    /// # Errors
    ///
    /// EINVAL if `argsz` is less than 16, ENOMEM if the capabilities are more than
    /// [`CAPABILITIES_MAX`](crate::CAPABILITIES_MAX), or take more than
    /// [`ARGSZ_MAX`](crate::ARGSZ_MAX).
    pub fn encode(&self, argsz: u32) -> Result<Vec<u8>, Errno> {
        let room = chain::room(argsz, MINIMUM)?;
        let fit = chain::fit(argsz, Self::SIZE, &self.capabilities)?;
        let mut flags = self.flags;
        flags.set(DeviceFlags::CAPS, !self.capabilities.is_empty());
        let wire = DeviceInfoWire {
            argsz: fit.argsz,
            flags: flags.bits(),
            num_regions: self.num_regions,
            num_irqs: self.num_irqs,
            cap_offset: fit.cap_offset,
            pad: 0,
        };
        let mut bytes = wire.as_bytes()[..room.min(Self::SIZE)].to_vec();
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
        let mut wire = DeviceInfoWire::new_zeroed();
        let bytes = chain::fixed_part(bytes, MINIMUM, wire.as_mut_bytes())?;
        let mut flags = DeviceFlags::from_bits_retain(wire.flags);
        let entries = if flags.contains(DeviceFlags::CAPS) {
            chain::entries(bytes, wire.argsz, wire.cap_offset, BOUNDS)?
        } else {
            Vec::new()
        };
        flags.remove(DeviceFlags::CAPS);
        Ok(Self {
            flags,
            num_regions: wire.num_regions,
            num_irqs: wire.num_irqs,
            capabilities: entries.into_iter().map(Entry::to_raw).collect(),
        })
    }
}

#[cfg(test)]
mod tests;
