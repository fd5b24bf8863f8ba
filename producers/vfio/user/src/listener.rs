//! Socket files that are their owner's from the moment they are made.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketFlags;
use rustix::net::SocketType;

/// Who may wait to be accepted: as many as the host allows (`net.core.somaxconn`).
const BACKLOG: i32 = -1;

/// Who reaches a socket file: its permission bits. Whoever may write it may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketMode(u32);

impl SocketMode {
    /// Its owner and nobody else: whoever reaches the socket has the device.
    pub const OWNER: Self = Self(0o600);

    /// These bits; `None` beyond 0777.
    #[must_use]
    pub const fn new(bits: u32) -> Option<Self> {
        match bits <= 0o777 {
            true => Some(Self(bits)),
            false => None,
        }
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl Default for SocketMode {
    fn default() -> Self {
        Self::OWNER
    }
}

/// Listens on a socket file that is made here, of this mode; the umask may take bits of the owner's alone.
/// At no time is the file open to more than that.
///
/// # Errors
///
/// The file exists or cannot be made; none is left then.
pub fn listen(path: &Path, mode: SocketMode) -> io::Result<UnixListener> {
    let socket = bind(path, mode)?;
    match open(&socket, path, mode) {
        Ok(()) => Ok(socket.into()),
        Err(error) => {
            // Made here; somebody else may have removed it.
            let _ = std::fs::remove_file(path);
            Err(error.into())
        }
    }
}

/// Makes the file, which nobody can connect to yet.
fn bind(path: &Path, mode: SocketMode) -> Result<OwnedFd, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The file takes over the mode of the socket, less the umask (`net/unix/af_unix.c`, unix_bind_bsd).
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode.0))?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

fn open(socket: &OwnedFd, path: &Path, mode: SocketMode) -> Result<(), Errno> {
    if mode != SocketMode::OWNER {
        // What the umask took from those who were asked for.
        rustix::fs::chmod(path, Mode::from_raw_mode(mode.0))?;
    }
    rustix::net::listen(socket, BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    fn mode_of(path: &Path) -> u32 {
        let file = std::fs::symlink_metadata(path).expect("a file");
        file.permissions().mode() & 0o777
    }

    #[test]
    fn socket_is_of_the_mode_asked_for_and_its_owners_by_default() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, mode, bits) in [
            ("default", SocketMode::default(), 0o600),
            // A usual umask would take the group's write bit, without which it cannot connect.
            ("group", SocketMode::new(0o660).expect("bits"), 0o660),
        ] {
            let path = folder.path().join(name);
            let listener = listen(&path, mode).expect("a listener");
            assert_eq!(mode_of(&path), bits);
            let _client = UnixStream::connect(&path).expect("a listener");
            listener.accept().expect("a client");
        }
        assert_eq!(SocketMode::new(0o1000), None);
    }

    #[test]
    fn socket_is_never_open_to_more_than_its_mode_whatever_the_umask() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        // Of the whole process; no test beside this one cares who may open its files.
        let umask = rustix::process::umask(Mode::empty());
        let made = bind(&path, SocketMode::OWNER);
        rustix::process::umask(umask);
        made.expect("a socket");
        assert_eq!(mode_of(&path), 0o600);
    }

    #[test]
    fn file_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "not a socket").expect("a file");
        let before = mode_of(&path);
        let error = listen(&path, SocketMode::OWNER).expect_err("it is there");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(mode_of(&path), before);
    }
}
