//! What the loop polls, and by which words it knows it again.

use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::event::epoll;
use rustix::io::Errno;

use super::peer::Peer;

/// In the upper byte of an epoll word: what the rest is. Without it, the id of a relayed link.
pub(super) const KIND: u64 = 0xff << 56;
pub(super) const PEER: u64 = 1 << 56;
pub(super) const LISTENER: u64 = 2 << 56;
pub(super) const SIGNAL: u64 = 3 << 56;
pub(super) const EXTRA: u64 = 4 << 56;

/// Adds what is read.
pub(super) fn watch(epoll: &OwnedFd, fd: BorrowedFd<'_>, word: u64) -> Result<(), Errno> {
    let data = epoll::EventData::new_u64(word);
    epoll::add(epoll, fd, data, epoll::EventFlags::IN)
}

/// A peer is polled for room to write only while something waits for it, and then for nothing
/// else; while its request is not decided only its end is told.
pub(super) fn poll_for(epoll: &OwnedFd, id: u64, peer: &mut Peer, room: bool) -> Result<(), Errno> {
    let flags = match (room, peer.awaits_answer) {
        (true, _) => epoll::EventFlags::OUT,
        (false, true) => epoll::EventFlags::empty(),
        (false, false) => epoll::EventFlags::IN,
    };
    if peer.polled_for == flags {
        return Ok(());
    }
    let data = epoll::EventData::new_u64(PEER | id);
    epoll::modify(epoll, &peer.connection, data, flags)?;
    peer.polled_for = flags;
    Ok(())
}
