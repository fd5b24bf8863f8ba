//! What a service manager is told (`sd_notify(3)`).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;

use sd_notify::NotifyState;

/// The service manager's socket, if there is one. Connected before the daemon is confined: afterwards it
/// can make no socket, which is why the library's own call does not do.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    socket: Option<UnixDatagram>,
}

impl Notifier {
    /// Connects to `address`, the value of `NOTIFY_SOCKET`.
    ///
    /// # Errors
    ///
    /// Nobody listens there.
    pub(super) fn connect(address: Option<&OsStr>) -> io::Result<Self> {
        let Some(address) = address.filter(|address| !address.is_empty()) else {
            return Ok(Self::default());
        };
        let address = match address.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        Ok(Self {
            socket: Some(socket),
        })
    }

    /// Requests are served.
    pub(super) fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// The configuration is read again; [`ready`](Self::ready) ends it.
    pub(super) fn reloading(&self) {
        let now = NotifyState::monotonic_usec_now();
        let states = [Some(NotifyState::Reloading), now.ok()];
        self.tell(&states.into_iter().flatten().collect::<Vec<_>>());
    }

    /// The daemon ends.
    pub(super) fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// A line for `systemctl status`.
    pub(super) fn status(&self, text: &str) {
        self.tell(&[NotifyState::Status(text)]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else {
            return;
        };
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        if let Err(error) = socket.send(text.as_bytes()) {
            tracing::warn!(%error, "the service manager does not listen");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn notifier_tells_a_manager_at_a_path_of_each_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::connect(Some(path.as_os_str())).unwrap();
        notifier.ready();
        assert_eq!(received(&manager), "READY=1\n");
        notifier.reloading();
        let text = received(&manager);
        assert!(text.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{text}");
        notifier.status("seccomp on");
        assert_eq!(received(&manager), "STATUS=seccomp on\n");
        notifier.stopping();
        assert_eq!(received(&manager), "STOPPING=1\n");
    }

    #[test]
    fn notifier_knows_abstract_addresses() {
        let name = format!("irqbroker-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::connect(Some(OsStr::new(&format!("@{name}")))).unwrap();
        notifier.ready();
        assert_eq!(received(&manager), "READY=1\n");
    }

    #[test]
    fn notifier_without_a_manager_is_silent_and_with_a_dead_one_an_error() {
        Notifier::connect(None).unwrap().ready();
        let dead = Notifier::connect(Some(OsStr::new("/nonexistent/notify")));
        assert_eq!(dead.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
