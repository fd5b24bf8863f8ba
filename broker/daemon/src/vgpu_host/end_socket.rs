//! Where a host is asked to end, by whoever spawns hosts now; only its own user can.

use std::fs::Permissions;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use irqbroker_protocol::Connection;
use irqbroker_protocol::ReceiveError;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::Shutdown;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use serde::Deserialize;
use serde::Serialize;

/// How long a user that was asked to give the device back may take: a guest that is to let go of a
/// PCI Express function waits five seconds before it begins.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// Who may ask at a time. Of more, the one who has kept silent for longest is left.
const MOST: usize = 16;
/// How long nobody is let in where there are too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// What a host is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EndOrder {
    /// To end if nobody uses it.
    IfUnused,
    /// To end whoever uses it, once its user has been asked to give it back.
    Force,
}

/// What it answers: it knows who uses it, and nobody else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EndAnswer {
    /// It ends, and takes no user any more.
    Ending,
    /// Its user has been asked, and it ends within [`GRACE`].
    UserAsked,
    /// It is in use and goes on.
    Busy,
}

/// The socket. It has no thread: poll [`waits`](Self::waits) for [`patience`](Self::patience), call
/// [`asked`](Self::asked).
#[derive(Debug)]
pub(crate) struct EndSocket {
    listener: OwnedFd,
    /// Those who have not said yet what they ask, in the order in which they came.
    silent: Vec<Connection>,
    /// Until when those who come have to wait.
    deaf_until: Option<Instant>,
}

/// Somebody who asks, and waits for the answer.
#[derive(Debug)]
pub(crate) struct EndAsked {
    pub(crate) order: EndOrder,
    connection: Connection,
}

impl EndSocket {
    /// Listens at `path`, where nothing is.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        let listener = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        rustix::net::bind(&listener, &SocketAddrUnix::new(path)?)?;
        // Nobody can connect before it listens.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        rustix::net::listen(&listener, i32::try_from(MOST).unwrap_or(i32::MAX))?;
        Ok(Self {
            listener,
            silent: Vec::new(),
            deaf_until: None,
        })
    }

    /// What to wait for, each readable.
    pub(crate) fn waits(&self, now: Instant) -> impl Iterator<Item = BorrowedFd<'_>> {
        let silent = self.silent.iter().map(AsFd::as_fd);
        let listener = self.patience(now).is_none().then(|| self.listener.as_fd());
        listener.into_iter().chain(silent)
    }

    /// How long to wait at most before there is more to wait for.
    pub(crate) fn patience(&self, now: Instant) -> Option<Duration> {
        let left = self.deaf_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Who asks by now, and still waits for the answer; what is no order is left.
    pub(crate) fn asked(&mut self, now: Instant) -> Vec<EndAsked> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Not for ever, however many come.
        for _ in 0..MOST {
            match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => self.silent.push(Connection::new(socket)),
                Err(error) => {
                    self.heed(error, now);
                    break;
                }
            }
        }
        let mut asked = Vec::new();
        for mut connection in std::mem::take(&mut self.silent) {
            let order = connection
                .receive()
                .map(|packet| serde_json::from_slice(packet.bytes));
            match order {
                Ok(Ok(order)) => {
                    // Whoever has given up has told somebody that nothing changes.
                    if matches!(connection.receive(), Err(ReceiveError::WouldBlock)) {
                        asked.push(EndAsked { order, connection });
                    }
                }
                Err(ReceiveError::WouldBlock) => self.silent.push(connection),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        let over = self.silent.len().saturating_sub(MOST);
        self.silent.drain(..over);
        asked
    }

    /// A listener that stays readable would have its user look at it without end.
    fn heed(&mut self, error: Errno, now: Instant) {
        let is_gone = matches!(error, Errno::AGAIN | Errno::INTR | Errno::CONNABORTED);
        self.deaf_until = (!is_gone).then(|| now + PAUSE);
    }
}

impl EndAsked {
    /// Tells what was decided. Whether it was told: one that has given up meanwhile is not.
    pub(crate) fn answer(self, answer: EndAnswer) -> bool {
        serde_json::to_vec(&answer).is_ok_and(|bytes| self.connection.send(&bytes, &[]).is_ok())
    }
}

/// Asks the host at `path`; the answer is to be [read](answered) once something comes.
pub(super) fn ask(path: &Path, order: EndOrder) -> io::Result<Connection> {
    let connection = Connection::connect_nonblocking(path)?;
    let bytes = serde_json::to_vec(&order)?;
    let sent = connection.send(&bytes, &[]);
    sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
    Ok(connection)
}

/// Gives up; the answer, if it has come until now. None comes from now on, and the host knows.
pub(super) fn give_up(connection: &mut Connection) -> Option<EndAnswer> {
    // The kernel refuses what is sent after this; what was sent before can still be read.
    let _gone = rustix::net::shutdown(&*connection, Shutdown::Both);
    answered(connection).ok().flatten()
}

/// The answer, if it has come; `Err` if none will.
pub(super) fn answered(connection: &mut Connection) -> Result<Option<EndAnswer>, ReceiveError> {
    match connection.receive() {
        Ok(packet) => serde_json::from_slice(packet.bytes)
            .map(Some)
            .map_err(|_| ReceiveError::Closed),
        Err(ReceiveError::WouldBlock) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rustix::event::PollFd;
    use rustix::event::PollFlags;

    fn socket() -> (tempfile::TempDir, std::path::PathBuf, EndSocket) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7.sock.end");
        let socket = EndSocket::bind(&path).unwrap();
        (folder, path, socket)
    }

    #[test]
    fn order_is_asked_once_and_its_answer_reaches_who_asked() {
        let (_folder, path, mut socket) = socket();
        assert!(socket.asked(Instant::now()).is_empty());
        let mut asking = [EndOrder::IfUnused, EndOrder::Force].map(|order| ask(&path, order));
        let [Ok(first), Ok(second)] = &mut asking else {
            panic!("{asking:?}");
        };
        let [a, b] = <[EndAsked; 2]>::try_from(socket.asked(Instant::now())).unwrap();
        assert_eq!((a.order, b.order), (EndOrder::IfUnused, EndOrder::Force));
        assert!(socket.asked(Instant::now()).is_empty());
        assert_eq!(answered(first).unwrap(), None);
        assert!(b.answer(EndAnswer::UserAsked));
        assert!(a.answer(EndAnswer::Busy));
        assert_eq!(answered(first).unwrap(), Some(EndAnswer::Busy));
        assert_eq!(answered(second).unwrap(), Some(EndAnswer::UserAsked));
        answered(first).unwrap_err();
    }

    #[test]
    fn order_of_one_that_has_given_up_is_not_taken_and_its_answer_is_not_told() {
        let (_folder, path, mut socket) = socket();
        drop(ask(&path, EndOrder::IfUnused).unwrap());
        let mut second = ask(&path, EndOrder::IfUnused).unwrap();
        assert_eq!(give_up(&mut second), None);
        assert!(socket.asked(Instant::now()).is_empty());
        assert_eq!(socket.waits(Instant::now()).count(), 1);
        // Between the order and the answer.
        let mut third = ask(&path, EndOrder::IfUnused).unwrap();
        let [asked] = <[EndAsked; 1]>::try_from(socket.asked(Instant::now())).unwrap();
        assert_eq!(give_up(&mut third), None);
        assert!(!asked.answer(EndAnswer::Ending));
        // An answer that has come counts, however late it is read.
        let mut last = ask(&path, EndOrder::IfUnused).unwrap();
        let [asked] = <[EndAsked; 1]>::try_from(socket.asked(Instant::now())).unwrap();
        assert!(asked.answer(EndAnswer::Ending));
        assert_eq!(give_up(&mut last), Some(EndAnswer::Ending));
    }

    #[test]
    fn silent_and_nonsensical_ones_neither_hold_it_up_nor_pile_up() {
        let (_folder, path, mut socket) = socket();
        let mut silent = Vec::new();
        for _ in 0..2 * MOST {
            silent.push(Connection::connect_nonblocking(&path).unwrap());
            assert!(socket.asked(Instant::now()).is_empty());
        }
        assert_eq!(socket.waits(Instant::now()).count(), 1 + MOST);
        let nonsense = Connection::connect_nonblocking(&path).unwrap();
        nonsense.send(br#""end""#, &[]).unwrap();
        let last = ask(&path, EndOrder::IfUnused).unwrap();
        assert_eq!(socket.asked(Instant::now()).len(), 1);
        drop((silent, nonsense, last));
        assert!(socket.asked(Instant::now()).is_empty());
        assert_eq!(socket.waits(Instant::now()).count(), 1);
    }

    #[test]
    fn socket_that_lacks_fds_lets_nobody_in_for_a_while_and_hears_those_who_are() {
        let (_folder, path, mut socket) = socket();
        let now = Instant::now();
        let inside = Connection::connect_nonblocking(&path).unwrap();
        assert!(socket.asked(now).is_empty());
        assert_eq!(socket.patience(now), None);
        socket.heed(Errno::MFILE, now);
        assert_eq!(socket.waits(now).count(), 1);
        assert_eq!(socket.patience(now), Some(PAUSE));
        assert_eq!(socket.waits(now + PAUSE).count(), 2);
        assert_eq!(socket.patience(now + PAUSE), None);
        let order = serde_json::to_vec(&EndOrder::IfUnused).unwrap();
        inside.send(&order, &[]).unwrap();
        assert_eq!(socket.asked(now).len(), 1);
    }

    #[test]
    fn socket_is_its_own_users_and_readable_when_somebody_asks() {
        let (_folder, path, socket) = socket();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let _asking = ask(&path, EndOrder::IfUnused).unwrap();
        let waits = socket.waits(Instant::now());
        let mut fds: Vec<_> = waits
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        assert_eq!(rustix::event::poll(&mut fds, None), Ok(1));
    }
}
