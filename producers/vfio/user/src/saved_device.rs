//! The commands that save and restore a device, on either side.
//!
//! What is saved crosses the socket as one fd of a memfd that nobody can change any more.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno;
use rustix::fs::SealFlags;

use crate::client::Client;
use crate::client::empty;
use crate::command::Command;
use crate::outbox::Payload;

/// Saves `device` into a reply.
pub(crate) fn save(
    device: &dyn Device,
    payload: &[u8],
    reply: &mut Payload<'_>,
) -> Result<(), Errno> {
    if !payload.is_empty() {
        return Err(Errno::EINVAL);
    }
    reply.attach(device.save()?);
    Ok(())
}

/// Restores `device` from the file of a request.
///
/// # Errors
///
/// EINVAL if it is not exactly one file, or one whose content or length may still change: a peer's
/// file system must not keep this side waiting, and what was checked must be what is used.
pub(crate) fn restore(device: &dyn Device, payload: &[u8], fds: Vec<OwnedFd>) -> Result<(), Errno> {
    let Ok([file]) = <[OwnedFd; 1]>::try_from(fds) else {
        return Err(Errno::EINVAL);
    };
    if !payload.is_empty() || !is_sealed(file.as_fd()) {
        return Err(Errno::EINVAL);
    }
    device.restore(file.as_fd())
}

fn is_sealed(file: BorrowedFd<'_>) -> bool {
    let needed = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW;
    rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(needed))
}

impl Client {
    /// Asks for a saved device.
    pub(crate) fn ask_for_saved(&self) -> Result<OwnedFd, Errno> {
        self.call(Command::SAVE_DEVICE, &[], |payload, fds| {
            match (payload, <[OwnedFd; 1]>::try_from(fds)) {
                ([], Ok([file])) => Ok(file),
                _ => Err(Errno::EPROTO),
            }
        })
    }

    /// Sends one.
    pub(crate) fn send_saved(&self, saved: BorrowedFd<'_>) -> Result<(), Errno> {
        self.state()
            .channel
            .call(Command::RESTORE_DEVICE, [&[], &[]], &[saved], empty)
    }
}
