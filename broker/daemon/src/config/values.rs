//! Values that a plain number or string is too wide for.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

/// An absolute path short enough for a socket's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PathBuf", into = "PathBuf")]
pub(crate) struct SocketPath(PathBuf);

/// Bytes a socket's path may have: `sun_path` less its terminator (`unix(7)`).
const SOCKET_PATH_LIMIT: usize = 107;

/// Where the daemon listens if nothing else is said.
pub(crate) const SOCKET: &str = "/run/irqbroker/control.sock";

impl SocketPath {
    /// The default of the control socket, which is absolute and short.
    pub(super) fn control() -> Self {
        Self(SOCKET.into())
    }

    /// The path.
    pub(crate) fn as_path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<PathBuf> for SocketPath {
    type Error = &'static str;

    fn try_from(path: PathBuf) -> Result<Self, &'static str> {
        if !path.is_absolute() {
            return Err("must be an absolute path");
        }
        if path.as_os_str().len() > SOCKET_PATH_LIMIT {
            return Err("is longer than the 107 bytes of a socket's path");
        }
        Ok(Self(path))
    }
}

impl From<SocketPath> for PathBuf {
    fn from(path: SocketPath) -> Self {
        path.0
    }
}

/// Permission bits of a socket file, written in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum SocketMode {
    /// Everybody's, or the owner's alone where nobody else is on an allow-list.
    Auto,
    /// These.
    Bits(u32),
}

impl SocketMode {
    /// The bits, if they are given.
    pub(crate) fn bits(self) -> Option<u32> {
        match self {
            Self::Auto => None,
            Self::Bits(bits) => Some(bits),
        }
    }
}

impl TryFrom<String> for SocketMode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let refused = "must be permission bits in octal, as \"0660\", or \"auto\"";
        let bits = u32::from_str_radix(&text, 8).map_err(|_| refused)?;
        match bits <= 0o777 {
            true => Ok(Self::Bits(bits)),
            false => Err(refused),
        }
    }
}

impl From<SocketMode> for String {
    fn from(mode: SocketMode) -> Self {
        match mode {
            SocketMode::Auto => "auto".to_owned(),
            SocketMode::Bits(bits) => format!("{bits:04o}"),
        }
    }
}

/// Where the sockets and records of hosted vGPUs are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PathBuf", into = "PathBuf")]
pub(crate) enum RunDir {
    /// Beside the control socket, with `.vgpu` after its name.
    Auto,
    /// Here.
    Path(PathBuf),
}

impl RunDir {
    /// The folder, for a daemon with this control socket.
    pub(crate) fn of(&self, control: &Path) -> PathBuf {
        match self {
            Self::Path(path) => path.clone(),
            Self::Auto => {
                let mut name = control.as_os_str().to_owned();
                name.push(".vgpu");
                name.into()
            }
        }
    }
}

impl TryFrom<PathBuf> for RunDir {
    type Error = &'static str;

    fn try_from(path: PathBuf) -> Result<Self, &'static str> {
        if path.as_os_str() == "auto" {
            return Ok(Self::Auto);
        }
        match path.is_absolute() {
            true => Ok(Self::Path(path)),
            false => Err("must be \"auto\" or an absolute path"),
        }
    }
}

impl From<RunDir> for PathBuf {
    fn from(run_dir: RunDir) -> Self {
        match run_dir {
            RunDir::Auto => "auto".into(),
            RunDir::Path(path) => path,
        }
    }
}

/// Where the metrics are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum MetricsAddress {
    /// Nowhere.
    Off,
    /// On a Unix socket of their own.
    Unix(SocketPath),
    /// On a port of the loopback interface.
    Loopback(SocketAddr),
}

impl TryFrom<String> for MetricsAddress {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text == "off" {
            return Ok(Self::Off);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return SocketPath::try_from(PathBuf::from(path)).map(Self::Unix);
        }
        let address: SocketAddr = text
            .parse()
            .map_err(|_| "must be \"off\", \"unix:PATH\" or \"127.0.0.1:PORT\"")?;
        match address.ip().is_loopback() {
            true => Ok(Self::Loopback(address)),
            false => Err("must be an address of the loopback interface: metrics carry no login"),
        }
    }
}

impl From<MetricsAddress> for String {
    fn from(address: MetricsAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Unix(path) => write!(f, "unix:{}", path.0.display()),
            Self::Loopback(address) => write!(f, "{address}"),
        }
    }
}

/// Whether system calls are filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Seccomp {
    /// They are, or the daemon does not start.
    On,
    /// They are not.
    Off,
}

/// What happens to a system call that is not on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Violation {
    /// It fails with `EPERM` and the daemon goes on.
    Errno,
    /// The daemon is killed.
    Kill,
}

/// Whether files and sockets are fenced off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Landlock {
    /// They are, or the daemon does not start.
    Required,
    /// As far as the kernel can.
    IfAvailable,
    /// They are not.
    Off,
}

/// What is logged on stderr: this and what is graver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogLevel {
    /// What keeps the daemon from its work.
    Error,
    /// What a peer did wrong.
    Warn,
    /// Connections, pairings.
    Info,
    /// Each request.
    Debug,
    /// Everything.
    Trace,
}
