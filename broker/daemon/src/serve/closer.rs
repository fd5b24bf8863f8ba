//! Closes files of peers, whose close may wait for the peer.
//!
//! A file in user space is told of each close and may not answer; a socket that lingers holds its
//! last close up until the other end has read. The daemon's one loop must wait for neither: whatever
//! came from a peer and is not known to be an eventfd or memory is closed here.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::time::Instant;

/// Threads, and so uids whose files can hold one up before those of others wait.
const THREADS: usize = 4;

/// Files of one uid that may wait before no more are taken of it: some packets full.
const MOST_UNCLOSED: usize = 1024;

/// Closes files on threads of its own, those of one uid on one thread at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closer {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// A leaf lock, held for no system call but the wake-up.
    uids: Mutex<HashMap<u32, OfUid>>,
    work: Condvar,
}

/// What there is to close of a uid; without anything it is not listed.
#[derive(Debug, Default)]
struct OfUid {
    waiting: Vec<OwnedFd>,
    /// When the first of them came.
    since: Option<Instant>,
    /// Files a thread has in hand.
    in_hand: usize,
}

impl Closer {
    /// Starts the threads, each of which confines itself first.
    ///
    /// # Errors
    ///
    /// The kernel refused a thread, or its confinement.
    pub(crate) fn start(
        &self,
        confine: impl Fn() -> anyhow::Result<()> + Clone + Send + 'static,
    ) -> anyhow::Result<()> {
        let (told, tell) = mpsc::channel();
        for _ in 0..THREADS {
            let (shared, confine, told) = (Arc::clone(&self.shared), confine.clone(), told.clone());
            std::thread::Builder::new()
                .name("close".to_owned())
                .spawn(move || {
                    let confined = confine();
                    let goes_on = confined.is_ok();
                    // Refused only if nobody waits any more.
                    let _ = told.send(confined);
                    drop(told);
                    if goes_on {
                        shared.serve();
                    }
                })?;
        }
        drop(told);
        tell.into_iter().collect()
    }

    /// Has files of a uid closed, soon and not here.
    pub(crate) fn close(&self, uid: u32, files: impl IntoIterator<Item = OwnedFd>) {
        let mut files = files.into_iter().peekable();
        if files.peek().is_some() {
            let mut uids = self.shared.lock();
            let of = uids.entry(uid).or_default();
            if of.waiting.is_empty() {
                of.since = Some(Instant::now());
            }
            of.waiting.extend(files);
            drop(uids);
            self.shared.work.notify_one();
        }
    }

    /// Whether a uid's files wait to be closed and wait, so that no more may come from it.
    pub(crate) fn is_held_up_by(&self, uid: u32) -> bool {
        self.unclosed(uid) > MOST_UNCLOSED
    }

    /// Whether anything waits to be closed, or is being.
    pub(crate) fn is_busy(&self) -> bool {
        !self.shared.lock().is_empty()
    }

    fn unclosed(&self, uid: u32) -> usize {
        let uids = self.shared.lock();
        uids.get(&uid).map_or(0, |of| of.waiting.len() + of.in_hand)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, OfUid>> {
        // Nothing panics while it is held.
        self.uids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what comes, for ever.
    fn serve(&self) {
        let mut uids = self.lock();
        loop {
            let Some((uid, files)) = take_next(&mut uids) else {
                uids = self.work.wait(uids).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(uids);
            for file in files {
                drop(file);
                if let Some(of) = self.lock().get_mut(&uid) {
                    // Not to 0, which would give the uid to another thread before the last is closed.
                    of.in_hand -= usize::from(of.in_hand > 1);
                }
            }
            uids = self.lock();
            if let Some(of) = uids.get_mut(&uid) {
                of.in_hand = 0;
                if of.waiting.is_empty() {
                    uids.remove(&uid);
                }
            }
        }
    }
}

/// Takes the files of the uid that has waited for longest and that no thread is at.
fn take_next(uids: &mut HashMap<u32, OfUid>) -> Option<(u32, Vec<OwnedFd>)> {
    let free = uids.iter_mut().filter(|(_, of)| of.in_hand == 0);
    let (&uid, of) = free.min_by_key(|(_, of)| of.since)?;
    let files = std::mem::take(&mut of.waiting);
    of.in_hand = files.len();
    Some((uid, files))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::io::Write;
    use std::net::TcpListener;
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    /// Peers.
    const HOSTILE: u32 = 1;
    const OTHER: u32 = 2;

    /// A socket whose last close waits for who does not read, and the end that does not.
    fn lingering() -> (OwnedFd, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (end, _) = listener.accept().unwrap();
        // Longer than the test.
        let linger = Some(Duration::from_secs(3600));
        rustix::net::sockopt::set_socket_linger(&socket, linger).unwrap();
        socket.set_nonblocking(true).unwrap();
        while socket.write(&[0; 65536]).is_ok() {}
        (socket.into(), end)
    }

    /// Has a file closed, and waits until it is.
    fn close_and_wait(closer: &Closer, uid: u32) {
        let (one, mut other) = UnixStream::pair().unwrap();
        closer.close(uid, [one.into()]);
        assert_eq!(other.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn files_are_taken_of_who_has_waited_longest_and_not_twice_at_a_time() {
        // No thread takes any.
        let closer = Closer::default();
        let file = || rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        // More than a map would have in this order by chance.
        let all = [5, 3, 8, 1, 7, 2];
        for uid in all.into_iter().chain(all) {
            closer.close(uid, [file()]);
        }
        let mut uids = closer.shared.lock();
        let taken = std::iter::from_fn(|| take_next(&mut uids));
        let taken: Vec<_> = taken.map(|(uid, files)| (uid, files.len())).collect();
        assert_eq!(taken, all.map(|uid| (uid, 2)));
    }

    #[test]
    fn file_whose_close_waits_holds_up_those_of_its_uid_only() {
        let closer = Closer::default();
        closer.start(|| Ok(())).unwrap();
        let (stuck, end) = lingering();
        closer.close(HOSTILE, [stuck]);
        let behind: Vec<OwnedFd> = (0..MOST_UNCLOSED)
            .map(|_| rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap())
            .collect();
        closer.close(HOSTILE, behind);
        assert!(closer.is_held_up_by(HOSTILE) && closer.is_busy());
        for _ in 0..2 * THREADS {
            close_and_wait(&closer, OTHER);
        }
        assert!(!closer.is_held_up_by(OTHER));
        // The end that did not read goes: all is closed.
        drop(end);
        close_and_wait(&closer, HOSTILE);
        assert!(!closer.is_held_up_by(HOSTILE));
    }
}
