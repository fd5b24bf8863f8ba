//! Everything that can be configured, with its defaults.

use std::num::NonZeroU32;

use serde::Deserialize;
use serde::Serialize;

use super::access::Access;
use super::values::Landlock;
use super::values::LogLevel;
use super::values::MetricsAddress;
use super::values::RunDir;
use super::values::Seccomp;
use super::values::SocketMode;
use super::values::SocketPath;
use super::values::Violation;

/// The daemon's configuration. What each key means stands in `default.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The control socket.
    pub(crate) control: Control,
    /// Who may do what.
    pub(crate) access: Access,
    /// What one user may take.
    pub(crate) quotas: Quotas,
    /// What a session may ask for.
    pub(crate) sessions: Sessions,
    /// The metrics endpoint.
    pub(crate) metrics: Metrics,
    /// vGPUs the daemon hosts.
    pub(crate) vgpu: Vgpu,
    /// What the daemon gives up once it has started.
    pub(crate) sandbox: Sandbox,
    /// What is logged.
    pub(crate) log: Log,
}

/// The control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Control {
    /// Its file.
    pub(crate) socket: SocketPath,
    /// Its permission bits.
    pub(crate) mode: SocketMode,
}

/// What peers may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Quotas {
    /// Connections of one user.
    pub(crate) connections: NonZeroU32,
    /// Producers and consumers of one connection.
    pub(crate) objects: NonZeroU32,
    /// File descriptors kept for one user.
    pub(crate) fds: NonZeroU32,
    /// Requests per second of one user; as many may come at once.
    pub(crate) requests_per_second: NonZeroU32,
    /// KiB kept for a connection that does not read.
    pub(crate) backlog_kib: NonZeroU32,
    /// KiB of one user: what waits for its connections, and what it has registered.
    pub(crate) memory_kib: NonZeroU32,
}

/// What a session may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sessions {
    /// The longest a session may linger after its connection closed, in milliseconds.
    pub(crate) linger_limit_ms: u32,
}

/// The metrics endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Metrics {
    /// Where.
    pub(crate) listen: MetricsAddress,
    /// Links that have series of their own; the rest is counted together.
    pub(crate) links: u32,
}

/// vGPUs the daemon hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Vgpu {
    /// Where their sockets and records are.
    pub(crate) run_dir: RunDir,
    /// How many at once; 0 turns hosting off.
    pub(crate) max_devices: u32,
    /// MiB of VRAM they may have together.
    pub(crate) max_vram_mib: u32,
}

/// What the daemon gives up once it has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sandbox {
    /// System calls.
    pub(crate) seccomp: Seccomp,
    /// What becomes of one that is not listed.
    pub(crate) on_violation: Violation,
    /// Files, TCP, signals and abstract sockets.
    pub(crate) landlock: Landlock,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// From which level on.
    pub(crate) level: LogLevel,
}

/// `value`, which is not 0.
const fn limit(value: u32) -> NonZeroU32 {
    match NonZeroU32::new(value) {
        Some(value) => value,
        None => NonZeroU32::MIN,
    }
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: SocketPath::control(),
            mode: SocketMode::Auto,
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            connections: limit(256),
            objects: limit(16_384),
            fds: limit(65_536),
            requests_per_second: limit(50_000),
            backlog_kib: limit(1024),
            memory_kib: limit(128 * 1024),
        }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            linger_limit_ms: 30_000,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            listen: MetricsAddress::Off,
            links: 1000,
        }
    }
}

impl Default for Vgpu {
    fn default() -> Self {
        Self {
            run_dir: RunDir::Auto,
            max_devices: 16,
            max_vram_mib: 4096,
        }
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            seccomp: Seccomp::On,
            on_violation: Violation::Errno,
            landlock: Landlock::IfAvailable,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: LogLevel::Warn,
        }
    }
}
