//! The handshake.

use serde::Deserialize;
use serde::Serialize;

use crate::limits::Limits;
use crate::scope::Scope;

/// The version this crate speaks.
pub const VERSION: u32 = 1;

/// Something a daemon may offer beyond version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Consumers get a claim record.
    ClaimRecord,
    /// vGPUs can be created.
    Vgpu,
}

/// First request of a connection.
///
/// With [`claim_record`](Self::claim_record) the packet carries one fd: the record an earlier
/// daemon handed out in its [`Welcome`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// Versions the client speaks; the daemon chooses the highest it knows.
    pub versions: Vec<u32>,
    /// What the client calls itself, for people; at most 64 bytes are kept.
    pub client: String,
    /// What it wants to do. The connection gets all of them or is refused.
    pub scopes: Vec<Scope>,
    /// How long its objects shall outlive the connection, in milliseconds, for a hand-over. 0: not
    /// at all. More than [`Limits::linger_ms`] is taken as that.
    #[serde(default)]
    pub linger_ms: u32,
    /// The packet carries the claim record of an earlier connection.
    #[serde(default)]
    pub claim_record: bool,
}

impl Hello {
    /// A client of this crate's version that wants these scopes.
    pub fn new(client: impl Into<String>, scopes: &[Scope]) -> Self {
        Self {
            versions: vec![VERSION],
            client: client.into(),
            scopes: scopes.to_vec(),
            linger_ms: 0,
            claim_record: false,
        }
    }
}

/// Answer to [`Hello`].
///
/// Where the connection has the scope `consumer` and the daemon the feature `claim-record`, the
/// packet carries one fd: a sealed memory the client keeps, and gives to the next daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version spoken from here on.
    pub version: u32,
    /// What the daemon calls itself.
    pub daemon: String,
    /// A number that differs from that of every earlier run of the daemon.
    pub run: u64,
    /// The connection's number in this run.
    pub session: u64,
    /// What the daemon offers, by [`Feature::as_str`]. A client ignores features it does not know.
    pub features: Vec<String>,
    /// What the connection may send and hold.
    pub limits: Limits,
    /// Whether the packet carries a claim record.
    #[serde(default)]
    pub claim_record: bool,
}

impl Feature {
    /// As it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClaimRecord => "claim-record",
            Self::Vgpu => "vgpu",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn welcome_of_a_later_daemon_is_read_without_what_is_new() {
        let later = r#"{
            "version": 1, "daemon": "later", "run": 2, "session": 3, "features": ["more"], "new": {},
            "limits": {
                "message_bytes": 1, "message_fds": 2, "batch_requests": 3, "objects": 4,
                "requests_per_second": 5, "backlog_bytes": 6, "linger_ms": 7, "link_rows": 8,
                "new": 9
            }
        }"#;
        let welcome: Welcome = serde_json::from_str(later).unwrap();
        assert_eq!(welcome.limits.link_rows, 8);
        assert_eq!(welcome.features, ["more"]);
    }
}
