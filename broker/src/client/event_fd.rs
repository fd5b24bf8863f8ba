//! Eventfds the client moves events between.

use std::io::IoSliceMut;
use std::os::fd::AsFd;

use irqbroker_core::Token;
use irqbroker_core::TokenError;
use rustix::event::EventfdFlags;
use rustix::io::Errno;
use rustix::io::ReadWriteFlags;

/// A fresh eventfd.
pub(super) fn fresh() -> Result<Result<Token, TokenError>, Errno> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    Ok(Token::of(rustix::event::eventfd(0, flags)?))
}

/// Takes what stands in an eventfd, without waiting whatever its flags are.
pub(super) fn take(event: impl AsFd) -> u64 {
    let mut count = [0u8; 8];
    let mut buffers = [IoSliceMut::new(&mut count)];
    // An offset of all ones is the file's own position.
    match rustix::io::preadv2(event, &mut buffers, u64::MAX, ReadWriteFlags::NOWAIT) {
        Ok(8) => u64::from_ne_bytes(count),
        _ => 0,
    }
}

/// Moves what stands in one eventfd to another, as one event.
pub(super) fn move_events(from: impl AsFd, to: impl AsFd) {
    if take(from) > 0 {
        signal(to);
    }
}

/// Adds one event to an eventfd.
pub(super) fn signal(event: impl AsFd) {
    // Refused only when the counter is full: it is pending then anyway.
    let _ = rustix::io::write(event, &1u64.to_ne_bytes());
}
