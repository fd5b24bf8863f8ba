//! A request to set interrupts, whether its eventfds are lent or given.

use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqBind;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetHeader;

use crate::trigger::Trigger;

/// A request, unchecked.
#[derive(Debug)]
pub(crate) struct IrqRequest<'a> {
    pub(crate) header: IrqSetHeader,
    /// Where it is done, if not everywhere.
    bools: Option<&'a [bool]>,
    eventfds: Vec<Option<Eventfd<'a>>>,
}

/// An fd that is said to be an eventfd.
#[derive(Debug)]
pub(crate) enum Eventfd<'a> {
    Lent(BorrowedFd<'a>),
    Given(OwnedFd),
}

impl<'a> From<&IrqSet<'a>> for IrqRequest<'a> {
    fn from(set: &IrqSet<'a>) -> Self {
        let (bools, eventfds): (_, &[_]) = match set.data {
            IrqData::None { .. } => (None, &[]),
            IrqData::Bool(bools) => (Some(bools), &[]),
            IrqData::Eventfds(fds) => (None, fds),
        };
        Self {
            header: set.header(),
            bools,
            eventfds: eventfds.iter().map(|fd| fd.map(Eventfd::Lent)).collect(),
        }
    }
}

impl From<IrqBind> for IrqRequest<'static> {
    fn from(bind: IrqBind) -> Self {
        let header = bind.header();
        let eventfds = bind.eventfds.into_iter();
        Self {
            header,
            bools: None,
            eventfds: eventfds.map(|fd| fd.map(Eventfd::Given)).collect(),
        }
    }
}

impl<'a> IrqRequest<'a> {
    /// The first sub-index as a place in a list, once it has been checked against its length.
    pub(crate) fn start(&self) -> usize {
        place(self.header.start)
    }

    /// The sub-indexes of a request that is done at once: all of its range, or where its byte
    /// says so.
    pub(crate) fn chosen(&self) -> impl Iterator<Item = usize> + use<'a> {
        let bools = self.bools;
        let range = self.start()..self.start() + place(self.header.count);
        range
            .enumerate()
            .filter_map(move |(place, at)| match bools {
                Some(bools) => bools.get(place).copied().unwrap_or(false).then_some(at),
                None => Some(at),
            })
    }

    /// What is to be bound, in order; none of a request that is done at once.
    pub(crate) fn into_eventfds(self) -> impl Iterator<Item = Option<Eventfd<'a>>> {
        self.eventfds.into_iter()
    }
}

impl Eventfd<'_> {
    /// Keeps it.
    ///
    /// # Errors
    ///
    /// EINVAL if it is no eventfd; EMFILE if it is lent and cannot be kept.
    pub(crate) fn keep(self) -> Result<Trigger, Errno> {
        match self {
            Self::Lent(event) => Trigger::borrow(event),
            Self::Given(event) => Trigger::new(event),
        }
    }
}

fn place(sub_index: u32) -> usize {
    usize::try_from(sub_index).unwrap_or(usize::MAX)
}
