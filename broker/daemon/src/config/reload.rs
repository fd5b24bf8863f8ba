//! What a reload may change, and what needs a restart.

use super::key;
use super::schema::Config;

/// Keys that a running daemon takes over.
pub(super) const AT_RUN_TIME: &[&str] = &[
    "access.consumer.gids",
    "access.consumer.uids",
    "access.operator.gids",
    "access.operator.uids",
    "access.partners",
    "access.producer.gids",
    "access.producer.uids",
    "access.read_only.gids",
    "access.read_only.uids",
    "log.level",
    "metrics.links",
    "quotas.backlog_kib",
    "quotas.connections",
    "quotas.fds",
    "quotas.memory_kib",
    "quotas.objects",
    "quotas.requests_per_second",
    "sessions.linger_limit_ms",
    "vgpu.max_devices",
    "vgpu.max_vram_mib",
];

/// Keys of what is opened, started or given up before the first client is served.
#[cfg(test)]
pub(super) const AT_START: &[&str] = &[
    "control.mode",
    "control.socket",
    "metrics.listen",
    "sandbox.landlock",
    "sandbox.on_violation",
    "sandbox.seccomp",
    "vgpu.run_dir",
];

/// Why nothing was taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReloadError {
    /// Something changed that a running daemon cannot take over.
    #[error("{} changed, which needs a restart; nothing was taken over", keys.join(" and "))]
    NeedsRestart {
        /// Which keys.
        keys: Vec<String>,
    },
    /// Hosting was turned on or off.
    #[error("vgpu.max_devices changed from or to 0, which needs a restart; nothing was taken over")]
    Hosting,
    /// Others are let in, whom the socket's file keeps out.
    #[error(
        "access now lets others in, whom the socket's file keeps out: that needs a restart, or \
         control.mode; nothing was taken over"
    )]
    Closed,
}

/// The keys that differ, all of which a running daemon can take over: it has `new`, or goes on with
/// `old` if this refuses.
///
/// # Errors
///
/// See [`ReloadError`].
pub(crate) fn reload(old: &Config, new: &Config) -> Result<Vec<String>, ReloadError> {
    let new_leaves = key::leaves(new);
    let changed: Vec<String> = key::leaves(old)
        .into_iter()
        .filter(|leaf| !new_leaves.contains(leaf))
        .map(|(key, _)| key)
        .collect();
    let (taken, keys): (Vec<String>, Vec<String>) = changed
        .into_iter()
        .partition(|key| AT_RUN_TIME.contains(&key.as_str()));
    if !keys.is_empty() {
        return Err(ReloadError::NeedsRestart { keys });
    }
    if (old.vgpu.max_devices == 0) != (new.vgpu.max_devices == 0) {
        return Err(ReloadError::Hosting);
    }
    Ok(taken)
}
