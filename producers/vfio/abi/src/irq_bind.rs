//! A request for eventfds that gives them away.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use crate::index::IrqIndex;
use crate::irq_set::IrqAction;
use crate::irq_set::IrqData;
use crate::irq_set::IrqSet;
use crate::irq_set_header::IrqSetHeader;

/// An [`IrqSet`] of eventfds that are its own: received from a peer, and of no use to whoever did.
///
/// A device in this process keeps them as they are, where it would dup what it is only lent.
#[derive(Debug)]
pub struct IrqBind {
    /// The index.
    pub index: IrqIndex,
    /// The first sub-index it is about.
    pub start: u32,
    /// What the eventfds are bound to.
    pub action: IrqAction,
    /// One for each sub-index from `start` on; `None` (fd -1) unbinds.
    pub eventfds: Vec<Option<OwnedFd>>,
}

impl IrqBind {
    /// The same request with the eventfds lent.
    pub fn lend<T>(&self, request: impl FnOnce(&IrqSet<'_>) -> T) -> T {
        let fds: Vec<Option<BorrowedFd<'_>>> = self
            .eventfds
            .iter()
            .map(|fd| fd.as_ref().map(AsFd::as_fd))
            .collect();
        request(&IrqSet {
            index: self.index,
            start: self.start,
            action: self.action,
            data: IrqData::Eventfds(&fds),
        })
    }

    /// Its header, for the checks that a driver makes of one.
    #[must_use]
    pub fn header(&self) -> IrqSetHeader {
        self.lend(|request| request.header())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn bind_lends_the_request_it_is() {
        let file = OwnedFd::from(std::fs::File::open("/dev/null").expect("there always"));
        let number = file.as_raw_fd();
        let bind = IrqBind {
            index: IrqIndex::MSIX,
            // Any but the first.
            start: 3,
            action: IrqAction::Trigger,
            eventfds: vec![Some(file), None],
        };

        let (bytes, header) = bind.lend(|set| (set.encode(), set.header()));

        assert_eq!(bytes[20..24], number.to_ne_bytes());
        assert_eq!(bytes[24..], (-1i32).to_ne_bytes());
        assert_eq!((header.start, header.count), (3, 2));
        assert_eq!(bind.header(), header);
    }
}
