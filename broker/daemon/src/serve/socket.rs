//! The control socket's file: one daemon at a time, and nothing left behind.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::bail;
use irqbroker_protocol::Connection;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketFlags;
use rustix::net::SocketType;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A listening control socket. Dropping it removes the file, if it made it.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: OwnedFd,
    path: PathBuf,
    file: Option<SocketFile>,
}

/// A socket's file, to be removed.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Held until the socket's file is gone. Its file stays: to remove it would let two daemons
    /// hold two locks.
    _lock: File,
}

impl ControlSocket {
    /// Takes over a socket that listens already: its file is whoever opened it's.
    ///
    /// # Errors
    ///
    /// It does not listen, or has no file.
    pub(crate) fn adopt(listener: OwnedFd) -> anyhow::Result<Self> {
        if !rustix::net::sockopt::socket_acceptconn(&listener)? {
            bail!("the socket that was passed does not listen");
        }
        let path = path(&listener)?.context("the socket that was passed has no file")?;
        rustix::io::ioctl_fionbio(&listener, true)?;
        Ok(Self {
            listener,
            path,
            file: None,
        })
    }

    /// Whether its file is the daemon's own, with the bits it chose.
    pub(crate) fn is_own(&self) -> bool {
        self.file.is_some()
    }

    /// Listens at `path`, whose permission bits are to be `mode`.
    ///
    /// # Errors
    ///
    /// Another daemon does, the file is something else, or the directory is not ours to write.
    pub(crate) fn bind(path: &Path, mode: u32) -> anyhow::Result<Self> {
        let lock = lock(path)?;
        remove_stale(path)?;
        let listener = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        let address = SocketAddrUnix::new(path)
            .with_context(|| format!("{} is too long for a socket", path.display()))?;
        rustix::net::bind(&listener, &address)
            .with_context(|| format!("cannot make the socket {}", path.display()))?;
        let socket = Self {
            listener,
            path: path.to_owned(),
            file: Some(SocketFile {
                path: path.to_owned(),
                _lock: lock,
            }),
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        rustix::net::listen(&socket.listener, BACKLOG)?;
        Ok(socket)
    }

    /// Where it listens, whoever made it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// The file a socket is bound to.
fn path(socket: &OwnedFd) -> anyhow::Result<Option<PathBuf>> {
    let address = SocketAddrUnix::try_from(rustix::net::getsockname(socket)?)?;
    let path = address.path_bytes().map(OsStr::from_bytes);
    Ok(path.map(PathBuf::from))
}

/// Takes the lock that says who serves `path`.
fn lock(path: &Path) -> anyhow::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .with_context(|| {
            format!(
                "cannot write {}; give --socket a path in a directory this user may write",
                lock_path.display()
            )
        })?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => bail!(
            "another daemon serves {}; end it, or give another path",
            path.display()
        ),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", lock_path.display())),
    }
}

/// Removes the socket file of a daemon that is gone.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let there = match std::fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot look at {}", path.display()));
        }
    };
    if !there.file_type().is_socket() {
        bail!(
            "{} is there and is no socket; give another path",
            path.display()
        );
    }
    match Connection::connect_nonblocking(path) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path)
            .with_context(|| format!("cannot remove the stale {}", path.display())),
        _ => bail!(
            "another process serves {}; end it, or give another path",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of this test's own.
    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("irqbroker-serve-{name}-{}", std::process::id()))
    }

    fn refusal(path: &Path) -> String {
        ControlSocket::bind(path, 0o600).unwrap_err().to_string()
    }

    #[test]
    fn bind_beside_a_daemon_is_refused_and_after_it_taken() {
        let path = path("second");
        let first = ControlSocket::bind(&path, 0o600).unwrap();
        assert!(refusal(&path).contains("another daemon serves"));
        drop(first);
        assert!(!path.exists());
        ControlSocket::bind(&path, 0o666).unwrap();
    }

    #[test]
    fn bind_over_the_socket_of_a_dead_daemon_replaces_it() {
        let path = path("stale");
        let dead = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        rustix::net::bind(&dead, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        drop(dead);
        ControlSocket::bind(&path, 0o600).unwrap();
    }

    #[test]
    fn bind_over_another_file_or_another_server_is_refused_and_leaves_it() {
        let file = path("file");
        std::fs::write(&file, "not a socket").unwrap();
        assert!(refusal(&file).contains("is no socket"));
        assert!(file.exists());
        let busy = path("busy");
        let _other = std::os::unix::net::UnixListener::bind(&busy).unwrap();
        assert!(refusal(&busy).contains("another process serves"));
        std::fs::remove_file(&file).unwrap();
        std::fs::remove_file(&busy).unwrap();
    }

    #[test]
    fn bind_where_nothing_can_be_written_says_so() {
        let text = refusal(Path::new("/proc/irqbroker.sock"));
        assert!(
            text.contains("cannot write /proc/irqbroker.sock.lock"),
            "{text}"
        );
    }
}
