//! What a case works with: a device, its shape, eventfds, and the comparison of answers.

use std::cell::RefCell;
use std::fmt;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSetFlags;
use irqbroker_vfio_abi::IrqSetHeader;
use irqbroker_vfio_abi::VectorGrowth;
use rustix::event::EventfdFlags;

use super::profile::KernelProfile;
use super::shape::DeviceShape;
use crate::raw::RawDevice;
use crate::raw::Request;

/// What a request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Zero.
    Done,
    /// An error.
    Refused(Errno),
    /// One of two errors, by driver.
    RefusedEither(Errno, Errno),
}

/// A rule does not hold on the device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// A request was answered otherwise.
    #[error("{what}: {expected:?} was expected, the answer is {found:?}")]
    Answer {
        /// The request.
        what: &'static str,
        /// What the rule says.
        expected: Answer,
        /// What came.
        found: Result<u32, Errno>,
    },
    /// A value was another.
    #[error("{what}: {expected} was expected, {found} found")]
    Value {
        /// What was looked at.
        what: &'static str,
        /// What the rule says.
        expected: u64,
        /// What was found.
        found: u64,
    },
}

/// A device under test.
pub struct Probe<'a> {
    device: &'a dyn RawDevice,
    pub(super) shape: &'a DeviceShape,
    pub(super) profile: KernelProfile,
    /// Kept open until the case is over, since requests name them by number.
    fds: RefCell<Vec<OwnedFd>>,
}

/// An eventfd of a case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event(usize);

pub(super) const NONE: IrqSetFlags = IrqSetFlags::DATA_NONE;
pub(super) const BOOL: IrqSetFlags = IrqSetFlags::DATA_BOOL;
pub(super) const EVENTFD: IrqSetFlags = IrqSetFlags::DATA_EVENTFD;
pub(super) const MASK: IrqSetFlags = IrqSetFlags::ACTION_MASK;
pub(super) const UNMASK: IrqSetFlags = IrqSetFlags::ACTION_UNMASK;
pub(super) const TRIGGER: IrqSetFlags = IrqSetFlags::ACTION_TRIGGER;

pub(super) const EINVAL: Answer = Answer::Refused(Errno::EINVAL);
pub(super) const ENOTTY: Answer = Answer::Refused(Errno::ENOTTY);
pub(super) const EBADF: Answer = Answer::Refused(Errno::EBADF);
pub(super) const EBUSY: Answer = Answer::Refused(Errno::EBUSY);

/// The end of a case.
pub(super) type Verdict = Result<(), Mismatch>;

impl<'a> Probe<'a> {
    pub(super) fn new(
        device: &'a dyn RawDevice,
        shape: &'a DeviceShape,
        profile: KernelProfile,
    ) -> Self {
        Self {
            device,
            shape,
            profile,
            fds: RefCell::default(),
        }
    }

    /// Sends bytes and compares the answer.
    pub(super) fn ask(
        &self,
        what: &'static str,
        request: Request,
        bytes: &mut [u8],
        expected: Answer,
    ) -> Verdict {
        let found = self.device.ioctl(request, bytes);
        let holds = match (expected, found) {
            (Answer::Done, Ok(answer)) => answer == 0,
            (Answer::Refused(errno), Err(found)) => errno == found,
            (Answer::RefusedEither(one, other), Err(found)) => found == one || found == other,
            _ => false,
        };
        match holds {
            true => Ok(()),
            false => Err(Mismatch::Answer {
                what,
                expected,
                found,
            }),
        }
    }

    /// `SET_IRQS` with a header as given and any payload.
    pub(super) fn raw_set(
        &self,
        what: &'static str,
        header: IrqSetHeader,
        payload: &[u8],
        expected: Answer,
    ) -> Verdict {
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(payload);
        self.ask(what, Request::SetIrqs, &mut bytes, expected)
    }

    /// `SET_IRQS` with `argsz` as it has to be.
    pub(super) fn set(
        &self,
        what: &'static str,
        flags: IrqSetFlags,
        index: IrqIndex,
        (start, count): (u32, u32),
        payload: &[u8],
        expected: Answer,
    ) -> Verdict {
        let size = IrqSetHeader::SIZE + payload.len();
        let header = IrqSetHeader {
            argsz: u32::try_from(size).unwrap_or(u32::MAX),
            flags,
            index,
            start,
            count,
        };
        self.raw_set(what, header, payload, expected)
    }

    /// Binds eventfds, given by number, from `start` on.
    pub(super) fn bind(
        &self,
        what: &'static str,
        index: IrqIndex,
        start: u32,
        fds: &[i32],
        expected: Answer,
    ) -> Verdict {
        let payload: Vec<u8> = fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect();
        let count = u32::try_from(fds.len()).unwrap_or(u32::MAX);
        self.set(
            what,
            EVENTFD | TRIGGER,
            index,
            (start, count),
            &payload,
            expected,
        )
    }

    /// Fires, and reads which of the events were signalled, and how often.
    pub(super) fn fire(
        &self,
        what: &'static str,
        index: IrqIndex,
        (start, count): (u32, u32),
    ) -> Verdict {
        self.set(
            what,
            NONE | TRIGGER,
            index,
            (start, count),
            &[],
            Answer::Done,
        )
    }

    /// Disables an index.
    pub(super) fn disable(&self, index: IrqIndex, expected: Answer) -> Verdict {
        self.set("disable", NONE | TRIGGER, index, (0, 0), &[], expected)
    }

    /// A new eventfd.
    pub(super) fn event(&self) -> Event {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let event = rustix::event::eventfd(0, flags).expect("a test can have one more eventfd");
        self.keep(event)
    }

    /// Another fd of the same eventfd.
    pub(super) fn duplicate(&self, event: Event) -> Event {
        let duplicate = rustix::io::fcntl_dupfd_cloexec(&self.fds.borrow()[event.0], 0);
        self.keep(duplicate.expect("a test can have one more fd"))
    }

    /// Closes the fd; what is left in its place is of no use.
    pub(super) fn close(&self, event: Event) {
        let null = std::fs::File::open("/dev/null").expect("a test can open /dev/null");
        self.fds.borrow_mut()[event.0] = null.into();
    }

    /// The number of an eventfd.
    pub(super) fn number(&self, event: Event) -> i32 {
        self.fds.borrow()[event.0].as_raw_fd()
    }

    /// The number of an fd that is open and no eventfd.
    pub(super) fn other_file(&self) -> i32 {
        let null = std::fs::File::open("/dev/null").expect("a test can open /dev/null");
        let file = self.keep(null.into());
        self.number(file)
    }

    /// A number at which nothing is open: beyond what any limit allows.
    pub(super) fn closed_fd(&self) -> i32 {
        i32::MAX
    }

    /// Compares how often an eventfd has been signalled since the last time.
    pub(super) fn signalled(&self, what: &'static str, event: Event, expected: u64) -> Verdict {
        let mut count = [0; 8];
        let fds = self.fds.borrow();
        let found = match rustix::io::read(&fds[event.0], &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            Err(_) => 0,
        };
        self.same(what, expected, found)
    }

    /// Adds one to an eventfd.
    pub(super) fn signal(&self, event: Event) {
        let fds = self.fds.borrow();
        let written = rustix::io::write(&fds[event.0], &1u64.to_ne_bytes());
        written.expect("an eventfd of a test has room");
    }

    pub(super) fn same(&self, what: &'static str, expected: u64, found: u64) -> Verdict {
        match expected == found {
            true => Ok(()),
            false => Err(Mismatch::Value {
                what,
                expected,
                found,
            }),
        }
    }

    /// What becomes of vectors beyond those an index was enabled with.
    pub(super) fn growth(&self, index: IrqIndex) -> VectorGrowth {
        use irqbroker_vfio_abi::IrqFlags;
        let irq = self.shape.irq(index);
        match irq.is_some_and(|irq| irq.flags.contains(IrqFlags::NORESIZE)) {
            true => self.profile.fixed_vectors,
            false => VectorGrowth::OnDemand,
        }
    }

    /// Leaves the device as a freshly opened one is, as far as interrupts go.
    pub(super) fn clean_up(&self) {
        for irq in &self.shape.irqs {
            if irq.count == 0 {
                continue;
            }
            // Each may be refused, by an index that lacks it or has nothing bound.
            let unbind = (-1i32).to_ne_bytes();
            for (flags, payload) in [
                (EVENTFD | MASK, unbind.as_slice()),
                (EVENTFD | UNMASK, &unbind),
                (NONE | UNMASK, &[]),
            ] {
                let _refused =
                    self.set("clean up", flags, irq.index, (0, 1), payload, Answer::Done);
            }
            let _refused = self.disable(irq.index, Answer::Done);
        }
    }

    fn keep(&self, fd: OwnedFd) -> Event {
        let mut fds = self.fds.borrow_mut();
        fds.push(fd);
        Event(fds.len() - 1)
    }
}

impl fmt::Debug for Probe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Probe({:?})", self.device)
    }
}
