//! The socket files of a vGPU: its own, and one for what each head shows.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::bail;
use irqbroker::vgpu::HeadId;

/// Where the picture of a head is served, beside the device's own socket.
pub(super) fn of_head(socket: &Path, head: HeadId) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(format!(".head{head}"));
    name.into()
}

/// Removes the socket file of a server that is gone: nobody listens on it.
///
/// # Errors
///
/// The file is no socket, or somebody listens on it.
pub(crate) fn remove_stale(socket: &Path) -> anyhow::Result<()> {
    let there = match std::fs::symlink_metadata(socket) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot look at {}", socket.display()));
        }
    };
    if !there.file_type().is_socket() {
        bail!(
            "{} is there and is no socket; give another path",
            socket.display()
        );
    }
    match UnixStream::connect(socket) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(socket)
                .with_context(|| format!("cannot remove the stale {}", socket.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot use {}", socket.display())),
        Ok(_) => bail!(
            "another process serves {}; end it, or give another path",
            socket.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A path of this test's own.
    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("irqbroker-{name}-{}", std::process::id()))
    }

    #[test]
    fn socket_of_a_head_is_beside_the_device() {
        let head = of_head(Path::new("/run/vgpu.sock"), HeadId(1));
        assert_eq!(head, Path::new("/run/vgpu.sock.head1"));
    }

    #[test]
    fn remove_stale_removes_what_nobody_listens_on_and_nothing_else() {
        let socket = path("stale");
        remove_stale(&socket).unwrap();

        let listener = UnixListener::bind(&socket).unwrap();
        let busy = remove_stale(&socket).unwrap_err().to_string();
        assert!(busy.contains("another process serves"), "{busy}");

        drop(listener);
        remove_stale(&socket).unwrap();
        assert!(!socket.exists());

        std::fs::write(&socket, "not a socket").unwrap();
        let file = remove_stale(&socket).unwrap_err().to_string();
        assert!(file.contains("is no socket"), "{file}");
        std::fs::remove_file(&socket).unwrap();
    }
}
