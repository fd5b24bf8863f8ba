//! One vGPU on a vfio-user socket: no daemon, one process, one client at a time.

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use anyhow::bail;
use irqbroker::vgpu::Granularity;
use irqbroker::vgpu::VblankScheduler;
use irqbroker::vgpu::VgpuParent;
use irqbroker_vfio_user::Server;
use irqbroker_vfio_user::ServerOptions;
use irqbroker_vfio_user::Wait;
use serde::Serialize;

use super::args::ServeArgs;
use crate::output::Output;

/// What is told once the socket is there.
#[derive(Debug, Serialize)]
struct Serving {
    name: String,
    r#type: String,
    socket: String,
}

/// Serves until a signal ends the process.
///
/// # Errors
///
/// The socket or the device could not be made.
pub(super) fn run(args: &ServeArgs, output: &Output) -> anyhow::Result<()> {
    remove_stale(&args.socket)?;
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let device = parent.create_device(&args.vgpu_type, None)?;
    let _vblanks = parent.scheduler().spawn()?;
    let name = device.instance().name().to_owned();
    let mut server = Server::bind(
        &args.socket,
        Arc::clone(&device) as _,
        ServerOptions::default(),
    )?;
    output.print(&Serving {
        name,
        r#type: args.vgpu_type.name.to_string(),
        socket: args.socket.display().to_string(),
    })?;
    loop {
        let serviced = server.service(Wait::Forever)?;
        if serviced.refused > 0 {
            tracing::warn!(
                clients = serviced.refused,
                "a second client was turned away"
            );
        }
    }
}

/// Removes the socket file of a server that is gone: nobody listens on it.
fn remove_stale(socket: &Path) -> anyhow::Result<()> {
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

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, type {}, on {}", self.name, self.r#type, self.socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A path of this test's own.
    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("irqbroker-{name}-{}", std::process::id()))
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
