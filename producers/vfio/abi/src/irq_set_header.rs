//! `VFIO_DEVICE_SET_IRQS` as it comes: 20 bytes that may say anything, and the kernel's checks.
//!
//! Every driver first calls `vfio_set_irqs_validate_and_prepare` (`drivers/vfio/vfio_main.c`),
//! whose refusals are all EINVAL, then copies the payload (EFAULT), and only then looks for the
//! action (ENOTTY). So a request wrong in two ways is EINVAL before it is ENOTTY. The three steps
//! are [`IrqSetHeader::validate`], [`ValidatedHeader::payload`] and [`ValidatedHeader::action`].

use zerocopy::FromBytes;

use crate::errno::Errno;
use crate::flags::IrqSetFlags;
use crate::index::IrqIndex;
use crate::irq_set::IrqAction;
use crate::irq_set::IrqDataKind;
use crate::wire::IrqSetWire;

/// The header of a request, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IrqSetHeader {
    /// Bytes of header and payload, as the caller says.
    pub argsz: u32,
    /// What and with what; any bits.
    pub flags: IrqSetFlags,
    /// The index.
    pub index: IrqIndex,
    /// The first sub-index.
    pub start: u32,
    /// How many sub-indexes.
    pub count: u32,
}

/// What a header is checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IrqLimits {
    /// How many indexes the device has.
    pub num_irqs: u32,
    /// How many sub-indexes the requested index has; 0 if it is absent.
    pub count: u32,
}

impl IrqLimits {
    /// What vfio-platform checks against: the number of its indexes in both places, although each
    /// has one sub-index (its handlers check that once more).
    #[must_use]
    pub const fn platform(num_irqs: u32) -> Self {
        Self {
            num_irqs,
            count: num_irqs,
        }
    }
}

/// A header that fits the device, whatever its action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValidatedHeader {
    index: IrqIndex,
    start: u32,
    count: u32,
    data: IrqDataKind,
    actions: IrqSetFlags,
}

/// The payload of a request as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IrqPayload<'a> {
    /// None.
    None,
    /// One byte a sub-index; any value but 0 is yes.
    Bool(&'a [u8]),
    /// One fd a sub-index.
    Eventfds(RawFds<'a>),
}

/// The fds of a payload, by number.
///
/// -1 unbinds. vfio-pci takes any negative number so, except for ERR and REQ, where a number
/// below -1 does nothing at all, successfully.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFds<'a>(&'a [u8]);

impl IrqSetHeader {
    /// Bytes of a header.
    pub const SIZE: usize = size_of::<IrqSetWire>();

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// EFAULT if the slice ends within it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Errno> {
        let (wire, _) = IrqSetWire::read_from_prefix(bytes).map_err(|_| Errno::EFAULT)?;
        Ok(Self {
            argsz: wire.argsz,
            flags: IrqSetFlags::from_bits_retain(wire.flags),
            index: IrqIndex(wire.index),
            start: wire.start,
            count: wire.count,
        })
    }

    /// The bytes of the header.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        zerocopy::transmute!(IrqSetWire {
            argsz: self.argsz,
            flags: self.flags.bits(),
            index: self.index.0,
            start: self.start,
            count: self.count,
        })
    }

    /// Checks all but the action, as every driver does first.
    ///
    /// # Errors
    ///
    /// EINVAL: `argsz` less than the header; an index the device lacks; a range that ends beyond
    /// 2^32 - 2, or beyond the index, or begins there (so every request to an absent index, even
    /// one for no sub-index); a flag that does not exist; not exactly one kind of payload; `argsz`
    /// too small for the payload.
    pub fn validate(&self, limits: IrqLimits) -> Result<ValidatedHeader, Errno> {
        let argsz = usize::try_from(self.argsz).unwrap_or(usize::MAX);
        let room = argsz.checked_sub(Self::SIZE).ok_or(Errno::EINVAL)?;
        if self.index.0 >= limits.num_irqs {
            return Err(Errno::EINVAL);
        }
        // One less than would fit 32 bits: the kernel excludes 2^32 - 1 as an end too.
        if self.count >= u32::MAX - self.start {
            return Err(Errno::EINVAL);
        }
        if !IrqSetFlags::all().contains(self.flags) {
            return Err(Errno::EINVAL);
        }
        if self.start >= limits.count || self.start + self.count > limits.count {
            return Err(Errno::EINVAL);
        }
        let data = [IrqDataKind::None, IrqDataKind::Bool, IrqDataKind::Eventfd]
            .into_iter()
            .find(|kind| self.flags & IrqSetFlags::DATA_TYPE_MASK == kind.flag())
            .ok_or(Errno::EINVAL)?;
        let valid = ValidatedHeader {
            index: self.index,
            start: self.start,
            count: self.count,
            data,
            actions: self.flags & IrqSetFlags::ACTION_TYPE_MASK,
        };
        if room < valid.payload_len() {
            return Err(Errno::EINVAL);
        }
        Ok(valid)
    }
}

impl ValidatedHeader {
    /// The index.
    #[must_use]
    pub const fn index(&self) -> IrqIndex {
        self.index
    }

    /// The first sub-index.
    #[must_use]
    pub const fn start(&self) -> u32 {
        self.start
    }

    /// How many sub-indexes.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The sub-index behind the last one.
    #[must_use]
    pub const fn end(&self) -> u32 {
        self.start + self.count
    }

    /// Kind of the payload.
    #[must_use]
    pub const fn data(&self) -> IrqDataKind {
        self.data
    }

    /// Bytes of the payload. More in `argsz` than that are not read.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        // Saturates where it cannot be addressed, and is then more than any `argsz` has room for.
        usize::try_from(self.count)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.data.size())
    }

    /// The action.
    ///
    /// # Errors
    ///
    /// ENOTTY if it is none or several at once.
    pub fn action(&self) -> Result<IrqAction, Errno> {
        [IrqAction::Mask, IrqAction::Unmask, IrqAction::Trigger]
            .into_iter()
            .find(|action| self.actions == action.flag())
            .ok_or(Errno::ENOTTY)
    }

    /// The payload out of a whole request, header first.
    ///
    /// # Errors
    ///
    /// EFAULT if the slice ends within it.
    pub fn payload<'a>(&self, request: &'a [u8]) -> Result<IrqPayload<'a>, Errno> {
        let bytes = request
            .get(IrqSetHeader::SIZE..)
            .and_then(|rest| rest.get(..self.payload_len()))
            .ok_or(Errno::EFAULT)?;
        Ok(match self.data {
            IrqDataKind::None => IrqPayload::None,
            IrqDataKind::Bool => IrqPayload::Bool(bytes),
            IrqDataKind::Eventfd => IrqPayload::Eventfds(RawFds(bytes)),
        })
    }
}

impl RawFds<'_> {
    /// The numbers, in order of sub-index.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = i32> + '_ {
        let (numbers, _) = self.0.as_chunks();
        numbers.iter().map(|&bytes| i32::from_ne_bytes(bytes))
    }
}

#[cfg(test)]
mod tests;
