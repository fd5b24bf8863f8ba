//! Writing a peer's eventfd without being held up by the peer.
#![expect(
    unsafe_code,
    reason = "POSIX timers and signal handlers have no safe form"
)]
// UNSAFETY: a timer that interrupts this thread, which sigaction(2) and timer_create(2) make.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;

use super::aio_fd::AioSignaller;

/// How long a write may hold the thread up, and how soon it is tried again to end it: far longer
/// than a write takes, and too short for the other peers to notice.
const HOLD_UP: Duration = Duration::from_millis(20);

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signalled {
    /// It is in the eventfd's counter; where that was full it was pending already.
    Pending,
    /// The peer made its full eventfd block the write. It is pending all the same.
    HeldUp,
}

/// Signals eventfds that peers share and may fill and make blocking at any moment.
///
/// Whether a write to an eventfd waits is decided by a flag the peer can change, and `RWF_NOWAIT`
/// is not for its writes. So the kernel is asked to signal it, which waits for nobody. Where the
/// kernel takes no such requests it is written: a look before the write keeps clear of counters
/// that are full; a timer that interrupts this thread ends the wait at one that was filled between
/// the look and the write.
#[derive(Debug)]
pub(crate) struct Signaller {
    aio: Option<AioSignaller>,
    timer: libc::timer_t,
    /// The timer runs: from the first write of a turn to the turn's end.
    running: bool,
}

impl Signaller {
    /// For the calling thread, in which alone it may be used.
    ///
    /// # Errors
    ///
    /// The kernel refused a timer.
    pub(crate) fn new() -> io::Result<Self> {
        let aio = AioSignaller::new().inspect_err(|error| {
            tracing::warn!(
                %error,
                "no asynchronous I/O (fs.aio-max-nr?): an interrupt costs the relay three more \
                 system calls"
            );
        });
        Self::with(aio.ok())
    }

    fn with(aio: Option<AioSignaller>) -> io::Result<Self> {
        interrupt_on_alarm()?;
        // SAFETY: all zeroes is a sigevent: it holds numbers and a pointer that is not looked at.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGALRM;
        event.sigev_notify_thread_id = rustix::thread::gettid().as_raw_nonzero().get();
        let mut timer = std::ptr::null_mut();
        // SAFETY: both pointers are to locals that live as long as the call.
        let made = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) };
        match made {
            0 => Ok(Self {
                aio,
                timer,
                running: false,
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Adds one to an eventfd.
    pub(crate) fn signal(&mut self, sink: BorrowedFd<'_>) -> Signalled {
        if let Some(aio) = &mut self.aio
            && aio.signal(sink).is_ok()
        {
            return Signalled::Pending;
        }
        match has_room(sink) {
            true => self.write(sink),
            false => Signalled::Pending,
        }
    }

    /// By a write, without the look before.
    fn write(&mut self, sink: BorrowedFd<'_>) -> Signalled {
        if !self.running {
            // Again and again: the first may come before the write has begun to wait.
            self.running = self.set(HOLD_UP);
        }
        match rustix::io::write(sink, &1u64.to_ne_bytes()) {
            Err(Errno::INTR) => Signalled::HeldUp,
            // Refused only when the counter is full.
            _ => Signalled::Pending,
        }
    }

    /// Stops the timer: nothing is written until the next turn.
    pub(crate) fn rest(&mut self) {
        if self.running {
            self.running = !self.set(Duration::ZERO);
        }
    }

    /// Lets the timer run with this period, or stop; whether it took that.
    fn set(&mut self, period: Duration) -> bool {
        let period = libc::timespec {
            // Below a second.
            tv_sec: 0,
            tv_nsec: period.subsec_nanos().into(),
        };
        let every = libc::itimerspec {
            it_interval: period,
            it_value: period,
        };
        // SAFETY: the timer is this value's own, deleted only when it is dropped; `every` is a
        // local, and where there is no old setting wanted the last pointer may be null.
        let set = unsafe { libc::timer_settime(self.timer, 0, &every, std::ptr::null_mut()) };
        set == 0
    }
}

impl Drop for Signaller {
    fn drop(&mut self) {
        // SAFETY: the timer was made in `new` and is used by nobody after this.
        let deleted = unsafe { libc::timer_delete(self.timer) };
        debug_assert_eq!(deleted, 0);
    }
}

/// Whether a write of one would not wait now.
fn has_room(sink: BorrowedFd<'_>) -> bool {
    let now = Timespec::default();
    let mut fds = [PollFd::from_borrowed_fd(sink, PollFlags::OUT)];
    match rustix::event::poll(&mut fds, Some(&now)) {
        Ok(_) => fds[0].revents().contains(PollFlags::OUT),
        // Not told: the write finds out, and the timer ends it.
        Err(_) => true,
    }
}

/// Makes SIGALRM do nothing but end the system call that waits.
fn interrupt_on_alarm() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: all zeroes is a sigaction: no flags (and so no restart of the call), an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: the handler touches nothing, and is there as long as the program; nobody else in it
    // uses SIGALRM; where the old action is not wanted the last pointer may be null.
    let acted = unsafe { libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) };
    if acted != 0 {
        return Err(io::Error::last_os_error());
    }
    // Whoever started this process may have blocked it.
    // SAFETY: all zeroes is a signal set, which sigemptyset makes again anyway.
    let mut alarm: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a local.
    unsafe { libc::sigemptyset(&mut alarm) };
    // SAFETY: the pointer is to a local set, and the signal's number a valid one.
    unsafe { libc::sigaddset(&mut alarm, libc::SIGALRM) };
    // SAFETY: the set is a local; where the old mask is not wanted the last pointer may be null.
    let unblocked =
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &alarm, std::ptr::null_mut()) };
    match unblocked {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::fd::OwnedFd;

    use rustix::event::EventfdFlags;

    use super::*;

    /// The highest an eventfd's counter goes by writes.
    const FULL: u64 = u64::MAX - 1;

    fn full_and_blocking() -> OwnedFd {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&event, &FULL.to_ne_bytes()).unwrap();
        event
    }

    fn taken(event: &OwnedFd) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(event, &mut count).unwrap();
        u64::from_ne_bytes(count)
    }

    #[test]
    fn signal_by_the_kernel_starts_no_timer() {
        let aio = AioSignaller::new().unwrap();
        let mut signaller = Signaller::with(Some(aio)).unwrap();
        let event = full_and_blocking();
        assert_eq!(signaller.signal(event.as_fd()), Signalled::Pending);
        assert!(!signaller.running);
        assert_eq!(taken(&event), FULL + 1);
    }

    #[test]
    fn signal_of_a_full_blocking_eventfd_is_pending_already_and_waits_for_nobody() {
        let mut signaller = Signaller::with(None).unwrap();
        let event = full_and_blocking();
        assert_eq!(signaller.signal(event.as_fd()), Signalled::Pending);
        assert!(!signaller.running);
        assert_eq!(taken(&event), FULL);
    }

    #[test]
    fn write_to_an_eventfd_that_was_filled_after_the_look_is_ended_by_the_timer() {
        let mut signaller = Signaller::with(None).unwrap();
        let event = full_and_blocking();
        assert_eq!(signaller.write(event.as_fd()), Signalled::HeldUp);
        // And again, by the same timer.
        assert_eq!(signaller.write(event.as_fd()), Signalled::HeldUp);
        signaller.rest();
        assert_eq!(taken(&event), FULL);
        assert_eq!(signaller.signal(event.as_fd()), Signalled::Pending);
        assert_eq!(taken(&event), 1);
    }
}
