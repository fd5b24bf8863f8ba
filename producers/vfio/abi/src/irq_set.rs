//! `VFIO_DEVICE_SET_IRQS` as one means it: a request that is well formed.

use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

use zerocopy::IntoBytes;

use crate::flags::IrqSetFlags;
use crate::index::IrqIndex;
use crate::irq_set_header::IrqSetHeader;

/// What to do with some sub-indexes of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IrqAction {
    /// Mask; with eventfds, bind what will mask.
    Mask,
    /// Unmask; with eventfds, bind what will unmask.
    Unmask,
    /// Signal, as if the device had; with eventfds, bind what is signalled.
    Trigger,
}

impl IrqAction {
    /// The bit that says so.
    #[must_use]
    pub const fn flag(self) -> IrqSetFlags {
        match self {
            Self::Mask => IrqSetFlags::ACTION_MASK,
            Self::Unmask => IrqSetFlags::ACTION_UNMASK,
            Self::Trigger => IrqSetFlags::ACTION_TRIGGER,
        }
    }
}

/// Kind of a request's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IrqDataKind {
    /// No payload: the action is done at once, to all of the range.
    None,
    /// One byte a sub-index: the action is done at once, where it is not 0.
    Bool,
    /// One fd a sub-index: the action is bound to it.
    Eventfd,
}

impl IrqDataKind {
    /// The bit that says so.
    #[must_use]
    pub const fn flag(self) -> IrqSetFlags {
        match self {
            Self::None => IrqSetFlags::DATA_NONE,
            Self::Bool => IrqSetFlags::DATA_BOOL,
            Self::Eventfd => IrqSetFlags::DATA_EVENTFD,
        }
    }

    /// Bytes of payload for each sub-index.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::None => 0,
            Self::Bool => size_of::<u8>(),
            Self::Eventfd => size_of::<i32>(),
        }
    }
}

/// A well-formed request. What its fds are, eventfds or not, is not checked.
#[derive(Debug, Clone, Copy)]
pub struct IrqSet<'a> {
    /// The index.
    pub index: IrqIndex,
    /// The first sub-index it is about.
    pub start: u32,
    /// What to do.
    pub action: IrqAction,
    /// To how many sub-indexes, and with what.
    pub data: IrqData<'a>,
}

/// The payload of a request, one element for each sub-index from `start` on.
#[derive(Debug, Clone, Copy)]
pub enum IrqData<'a> {
    /// None. With [`IrqAction::Trigger`] and a count of 0 the whole index is disabled.
    None {
        /// How many sub-indexes.
        count: u32,
    },
    /// Where to do it.
    Bool(&'a [bool]),
    /// What to bind to; `None` (fd -1) unbinds.
    Eventfds(&'a [Option<BorrowedFd<'a>>]),
}

impl IrqData<'_> {
    /// How many sub-indexes; more than `u32::MAX` elements count as that many, which every driver
    /// refuses.
    #[must_use]
    pub fn count(&self) -> u32 {
        match self {
            Self::None { count } => *count,
            Self::Bool(bools) => u32::try_from(bools.len()).unwrap_or(u32::MAX),
            Self::Eventfds(fds) => u32::try_from(fds.len()).unwrap_or(u32::MAX),
        }
    }

    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> IrqDataKind {
        match self {
            Self::None { .. } => IrqDataKind::None,
            Self::Bool(_) => IrqDataKind::Bool,
            Self::Eventfds(_) => IrqDataKind::Eventfd,
        }
    }
}

impl<'a> IrqSet<'a> {
    /// Binds eventfds that are signalled, to the sub-indexes from `start` on.
    #[must_use]
    pub const fn bind(index: IrqIndex, start: u32, fds: &'a [Option<BorrowedFd<'a>>]) -> Self {
        Self {
            index,
            start,
            action: IrqAction::Trigger,
            data: IrqData::Eventfds(fds),
        }
    }

    /// Disables the index with all that is bound to it.
    #[must_use]
    pub const fn disable(index: IrqIndex) -> Self {
        Self {
            index,
            start: 0,
            action: IrqAction::Trigger,
            data: IrqData::None { count: 0 },
        }
    }

    /// How many sub-indexes it is about.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.data.count()
    }

    /// Its header, for the checks that a driver makes of one.
    #[must_use]
    pub fn header(&self) -> IrqSetHeader {
        let payload = u64::from(self.count()) * self.data.kind().size() as u64;
        let argsz = payload.saturating_add(IrqSetHeader::SIZE as u64);
        IrqSetHeader {
            argsz: u32::try_from(argsz).unwrap_or(u32::MAX),
            flags: self.action.flag() | self.data.kind().flag(),
            index: self.index,
            start: self.start,
            count: self.count(),
        }
    }

    /// The bytes the ioctl takes: header and payload, the fds by their numbers in this process.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header().encode().to_vec();
        match self.data {
            IrqData::None { .. } => {}
            IrqData::Bool(bools) => bytes.extend(bools.iter().map(|&bool| u8::from(bool))),
            IrqData::Eventfds(fds) => {
                for fd in fds {
                    let number = fd.map_or(-1, |fd| fd.as_raw_fd());
                    bytes.extend_from_slice(number.as_bytes());
                }
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
