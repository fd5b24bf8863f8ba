//! What shall fail.

use irqbroker_vfio_abi::Errno;

use crate::raw::Request;

/// What a request is answered with instead of being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error.
    Errno(Errno),
    /// A success with this answer; what is positive is vectors to be had (`SetIrqs`).
    Answer(u32),
}

#[derive(Debug, Default)]
pub(super) struct Script {
    faults: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    request: Request,
    skip: usize,
    fault: Fault,
}

impl Script {
    pub(super) fn fail(&mut self, request: Request, skip: usize, fault: Fault) {
        self.faults.push(Planned {
            request,
            skip,
            fault,
        });
    }

    /// What to answer to this request, if not what it asks for.
    pub(super) fn enter(&mut self, request: Request) -> Option<Fault> {
        let of_kind = |planned: &Planned| planned.request == request;
        let due = |planned: &Planned| of_kind(planned) && planned.skip == 0;
        let fault = self.faults.iter().position(due);
        let fault = fault.map(|at| self.faults.remove(at).fault);
        for planned in self.faults.iter_mut().filter(|planned| of_kind(planned)) {
            planned.skip = planned.skip.saturating_sub(1);
        }
        fault
    }
}
