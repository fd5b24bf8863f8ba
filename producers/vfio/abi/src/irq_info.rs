//! `VFIO_DEVICE_GET_IRQ_INFO`: how many interrupts an index has and what they are like.

use std::mem::offset_of;

use zerocopy::FromZeros;
use zerocopy::IntoBytes;

use crate::capability::RawCapability;
use crate::chain;
use crate::chain::Bounds;
use crate::errno::Errno;
use crate::flags::IrqFlags;
use crate::index::IrqIndex;
use crate::info_error::InfoError;
use crate::irq_capability::DisplayEvent;
use crate::irq_capability::IrqCapability;
use crate::irq_capability::IrqType;
use crate::irq_capability::MsiDescriptor;
use crate::wire::IrqInfoWire;

/// All there is upstream.
const MINIMUM: usize = offset_of!(IrqInfoWire, cap_offset);

/// Kernels with an unmerged series lay the chain out right behind `cap_offset`. What it says is
/// passed over, but the index can be used.
const BOUNDS: Bounds = Bounds {
    start: offset_of!(IrqInfoWire, reserved),
    alignment: 4,
};

/// What an interrupt index is (`vfio_irq_info`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IrqInfo {
    /// Which one.
    pub index: IrqIndex,
    /// What its interrupts are like. Without [`IrqFlags::CAPS`]: the list below says it.
    pub flags: IrqFlags,
    /// How many sub-indexes it has; 0 if the device has no such interrupt.
    pub count: u32,
    /// What else is told of it; nothing by a kernel as it is upstream.
    pub capabilities: Vec<IrqCapability>,
}

impl IrqInfo {
    /// Bytes of the fixed part without capabilities: what upstream fills in.
    pub const SIZE: usize = MINIMUM;
    /// Bytes of the fixed part of an index that has capabilities.
    pub const SIZE_WITH_CAPABILITIES: usize = size_of::<IrqInfoWire>();

    /// What the index is for, if it tells.
    #[must_use]
    pub fn irq_type(&self) -> Option<IrqType> {
        self.capabilities
            .iter()
            .find_map(|capability| match capability {
                IrqCapability::Type(irq_type) => Some(*irq_type),
                _ => None,
            })
    }

    /// What the sub-indexes of a display's index say, if it tells.
    #[must_use]
    pub fn display_events(&self) -> Option<&[DisplayEvent]> {
        self.capabilities
            .iter()
            .find_map(|capability| match capability {
                IrqCapability::Display(events) => Some(events.as_slice()),
                _ => None,
            })
    }

    /// The messages of a platform device, if it tells.
    #[must_use]
    pub fn msi_descriptors(&self) -> Option<&[MsiDescriptor]> {
        self.capabilities
            .iter()
            .find_map(|capability| match capability {
                IrqCapability::MsiDescriptors(messages) => Some(messages.as_slice()),
                _ => None,
            })
    }

    /// The index an encoded request asks for, and the room it offers.
    ///
    /// # Errors
    ///
    /// EFAULT if the slice ends within the first 16 bytes, EINVAL if `argsz` does.
    pub fn decode_request(bytes: &[u8]) -> Result<(IrqIndex, u32), Errno> {
        let mut wire = IrqInfoWire::new_zeroed();
        chain::request(bytes, MINIMUM, wire.as_mut_bytes())?;
        chain::room(wire.argsz, MINIMUM)?;
        Ok((IrqIndex(wire.index), wire.argsz))
    }

    /// What a driver writes back to a caller that offers `argsz` bytes, at most that many.
    ///
    /// An index without capabilities is answered as upstream does: 16 bytes, `argsz` as it was.
    /// Capabilities that do not fit are left out, and the answer's `argsz` says what they take.
    ///
    /// # Errors
    ///
    /// EINVAL if `argsz` is less than 16, ENOMEM if the capabilities are more than
    /// [`CAPABILITIES_MAX`](crate::CAPABILITIES_MAX), or take more than
    /// [`ARGSZ_MAX`](crate::ARGSZ_MAX).
    pub fn encode(&self, argsz: u32) -> Result<Vec<u8>, Errno> {
        let room = chain::room(argsz, MINIMUM)?;
        let raw: Vec<RawCapability> = self
            .capabilities
            .iter()
            .map(IrqCapability::to_raw)
            .collect();
        let fit = chain::fit(argsz, Self::SIZE_WITH_CAPABILITIES, &raw)?;
        let mut flags = self.flags;
        flags.set(IrqFlags::CAPS, !raw.is_empty());
        let fixed = if raw.is_empty() {
            MINIMUM
        } else {
            Self::SIZE_WITH_CAPABILITIES
        };
        let wire = IrqInfoWire {
            argsz: fit.argsz,
            flags: flags.bits(),
            index: self.index.0,
            count: self.count,
            cap_offset: fit.cap_offset,
            reserved: 0,
        };
        let mut bytes = wire.as_bytes()[..room.min(fixed)].to_vec();
        bytes.extend(fit.chain);
        Ok(bytes)
    }

    /// Reads what a driver wrote back.
    ///
    /// # Errors
    ///
    /// [`InfoError::BufferTooSmall`] if there are capabilities and the buffer did not hold them;
    /// [`InfoError::SubIndex`] if one speaks of a sub-index that is not there; the others if the
    /// structure is cut off or its chain makes no sense.
    pub fn decode(bytes: &[u8]) -> Result<Self, InfoError> {
        let mut wire = IrqInfoWire::new_zeroed();
        let bytes = chain::fixed_part(bytes, MINIMUM, wire.as_mut_bytes())?;
        let mut flags = IrqFlags::from_bits_retain(wire.flags);
        let entries = if flags.contains(IrqFlags::CAPS) {
            chain::entries(bytes, wire.argsz, wire.cap_offset, BOUNDS)?
        } else {
            Vec::new()
        };
        flags.remove(IrqFlags::CAPS);
        let capabilities = entries
            .iter()
            .map(|entry| IrqCapability::from_entry(entry, wire.count))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            index: IrqIndex(wire.index),
            flags,
            count: wire.count,
            capabilities,
        })
    }
}

#[cfg(test)]
mod tests;
