//! Adding to an eventfd without a write, which no peer can make wait.
#![expect(unsafe_code, reason = "the kernel's asynchronous I/O has no safe form")]
// UNSAFETY: io_setup(2) and its kin, which take pointers to requests and results.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::event::EventfdFlags;
use rustix::io::Errno;

/// Results that may wait to be fetched: one call in so many fetches them.
const RESULTS: usize = 64;

/// `IOCB_CMD_PREAD` (`include/uapi/linux/aio_abi.h`).
const PREAD: u16 = 0;

/// `IOCB_FLAG_RESFD`: the eventfd in `resfd` is signalled when the request is done.
const SIGNALS: u32 = 1;

/// Requests made with one call. The kernel takes a `long`, and looks at all of it.
const ONE: libc::c_long = 1;

/// Results that are waited for: none. As long as [`ONE`].
const NONE: libc::c_long = 0;

/// `struct iocb`, a request.
#[repr(C)]
#[derive(Debug, Default)]
struct Iocb {
    data: u64,
    /// The key, which the kernel writes, and flags of the read; which comes first is the byte
    /// order's.
    key_and_rw_flags: u64,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

/// `struct io_event`, a result.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
struct IoEvent {
    data: u64,
    request: u64,
    result: i64,
    result2: i64,
}

/// Has the kernel add to eventfds, as it does for a device's interrupt: it waits for nobody,
/// whatever the eventfd's counter and flags (`fs/eventfd.c`, `eventfd_signal_mask`).
///
/// A request of asynchronous I/O may name an eventfd to be signalled when it is done
/// (`fs/aio.c`, `iocb_put`). The request here is a read of an eventfd that is always empty, done
/// before the call that makes it returns: one system call, as a write would be.
#[derive(Debug)]
pub(crate) struct AioSignaller {
    context: u64,
    /// Not blocking, and written by nobody.
    empty: OwnedFd,
    /// Results the kernel holds.
    unfetched: usize,
}

impl AioSignaller {
    /// Takes [`RESULTS`] of the requests that `fs.aio-max-nr` grants all processes.
    ///
    /// # Errors
    ///
    /// `EAGAIN` where others have them all, `ENOSYS` where the kernel is built without.
    pub(crate) fn new() -> io::Result<Self> {
        let empty = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let mut context: u64 = 0;
        // SAFETY: io_setup takes a number and a pointer to a context that has to be 0; it is a
        // local that lives as long as the call.
        let made = unsafe { libc::syscall(libc::SYS_io_setup, RESULTS, &raw mut context) };
        match made {
            0 => Ok(Self {
                context,
                empty,
                unfetched: 0,
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Adds one to an eventfd.
    ///
    /// # Errors
    ///
    /// The kernel took no request; nothing was added.
    pub(crate) fn signal(&mut self, sink: BorrowedFd<'_>) -> Result<(), Errno> {
        if self.unfetched >= RESULTS {
            self.fetch()?;
        }
        let mut buffer = [0u8; 8];
        let mut request = Iocb {
            opcode: PREAD,
            fd: number(&self.empty)?,
            // An address: the kernel looks at nothing else in it.
            buffer: buffer.as_mut_ptr().addr() as u64,
            bytes: 8,
            flags: SIGNALS,
            resfd: number(&sink)?,
            ..Iocb::default()
        };
        let mut requests = [&raw mut request];
        // SAFETY: the context is this value's own. The list has the one pointer that is announced,
        // to a local request, and that one to a local buffer of as many bytes as it says; all live
        // as long as the call, and the kernel keeps none: a read of an eventfd that does not block
        // is done when the call returns.
        let submitted = unsafe {
            libc::syscall(
                libc::SYS_io_submit,
                self.context,
                ONE,
                requests.as_mut_ptr(),
            )
        };
        match submitted {
            1 => {
                self.unfetched += 1;
                Ok(())
            }
            _ => Err(last_errno()),
        }
    }

    /// Makes room for results; what they say is known.
    fn fetch(&mut self) -> Result<(), Errno> {
        let mut results = [IoEvent::default(); RESULTS];
        // SAFETY: the context is this value's own. The pointer is to a local array of as many
        // results as announced; with a least number of 0 the call does not wait, and the time
        // limit may be null.
        let fetched = unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.context,
                NONE,
                RESULTS,
                results.as_mut_ptr(),
                std::ptr::null_mut::<libc::timespec>(),
            )
        };
        match usize::try_from(fetched) {
            Ok(fetched) => {
                self.unfetched -= fetched.min(self.unfetched);
                Ok(())
            }
            Err(_) => Err(last_errno()),
        }
    }
}

impl Drop for AioSignaller {
    fn drop(&mut self) {
        // SAFETY: the context was made in `new` and is used by nobody after this.
        let destroyed = unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
        debug_assert_eq!(destroyed, 0);
    }
}

/// An fd's number as requests have it.
fn number(fd: &impl AsRawFd) -> Result<u32, Errno> {
    u32::try_from(fd.as_raw_fd()).map_err(|_| Errno::BADF)
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn event(count: u64, flags: EventfdFlags) -> OwnedFd {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | flags).unwrap();
        rustix::io::write(&event, &count.to_ne_bytes()).unwrap();
        event
    }

    fn taken(event: &OwnedFd) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(event, &mut count).unwrap();
        u64::from_ne_bytes(count)
    }

    #[test]
    fn requests_and_results_have_the_kernels_layout() {
        assert_eq!((size_of::<Iocb>(), size_of::<IoEvent>()), (64, 32));
        assert_eq!(std::mem::offset_of!(Iocb, fd), 20);
        assert_eq!(std::mem::offset_of!(Iocb, resfd), 60);
    }

    #[test]
    fn signal_of_a_full_eventfd_that_blocks_returns_at_once_and_takes_nothing_away() {
        let mut aio = AioSignaller::new().unwrap();
        // The highest the counter goes by writes.
        let full = event(u64::MAX - 1, EventfdFlags::empty());
        // The first goes one higher, and there it stays.
        aio.signal(full.as_fd()).unwrap();
        aio.signal(full.as_fd()).unwrap();
        assert_eq!(taken(&full), u64::MAX);
        aio.signal(full.as_fd()).unwrap();
        assert_eq!(taken(&full), 1);
    }

    #[test]
    fn signals_beyond_the_results_that_may_wait_all_arrive() {
        let mut aio = AioSignaller::new().unwrap();
        let sink = event(0, EventfdFlags::NONBLOCK);
        // Several fetches, and some left.
        let many = RESULTS * 5 + 3;
        for _ in 0..many {
            aio.signal(sink.as_fd()).unwrap();
        }
        assert_eq!(taken(&sink), u64::try_from(many).unwrap());
    }

    #[test]
    fn signal_of_what_is_no_eventfd_is_refused() {
        let mut aio = AioSignaller::new().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(aio.signal(null.as_fd()), Err(Errno::INVAL));
        assert_eq!(aio.unfetched, 0);
    }
}
