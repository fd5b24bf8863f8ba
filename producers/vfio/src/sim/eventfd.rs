//! Eventfds given by number, and held by an fd of the simulator's own.

use std::os::fd::OwnedFd;

use irqbroker_core::Token;
use irqbroker_vfio_abi::Errno;
use rustix::process::PidfdGetfdFlags;

/// The eventfd with this number in this process, held as the kernel holds its context.
///
/// # Errors
///
/// EBADF if nothing is open there, EINVAL if it is no eventfd.
pub(super) fn hold(process: &OwnedFd, number: i32) -> Result<Token, Errno> {
    // A process may look up its own fds whatever the kernel allows of others.
    let fd = rustix::process::pidfd_getfd(process, number, PidfdGetfdFlags::empty());
    let fd = fd.map_err(|_| Errno::EBADF)?;
    Token::of(&fd).map_err(|_| Errno::EINVAL)
}

/// Adds one to the counter.
pub(super) fn signal(event: &Token) {
    // A full counter is pending already.
    let _full = rustix::io::write(event, &1u64.to_ne_bytes());
}

/// Takes what stands in the counter; whether that was anything.
pub(super) fn claim(event: &Token) -> bool {
    // Asked first: the eventfd may be a blocking one.
    event.pending().is_ok_and(|count| count > 0) && rustix::io::read(event, &mut [0; 8]).is_ok()
}
