//! The control socket as a service manager opened it (`sd_listen_fds(3)`).

use std::os::fd::OwnedFd;

use anyhow::Context;
use anyhow::bail;
use listenfd::ListenFd;

/// The control socket that was passed, if one was.
///
/// # Errors
///
/// Something else was passed, or more than one socket.
pub(super) fn take() -> anyhow::Result<Option<OwnedFd>> {
    let mut passed = ListenFd::from_env();
    match passed.len() {
        0 => return Ok(None),
        1 => {}
        count => bail!("{count} sockets were passed, and the control socket is one"),
    }
    let (family, kind) = (libc::AF_UNIX, libc::SOCK_SEQPACKET);
    let socket = passed
        .take_custom(0, family, kind, "unix seqpacket socket")
        .context("what was passed is no SOCK_SEQPACKET socket (ListenSequentialPacket=)")?;
    Ok(socket)
}
