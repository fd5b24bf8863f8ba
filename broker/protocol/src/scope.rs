//! What a connection may ask for.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

/// A right that is bound to the connection in the handshake and holds until it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Register producers.
    Producer,
    /// Register consumers, report of them.
    Consumer,
    /// Change what others have registered: paths, vGPUs. Includes [`ReadOnly`](Self::ReadOnly).
    Operator,
    /// Look: status, links, explain, watch, the list of vGPUs.
    ReadOnly,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Producer,
        Self::Consumer,
        Self::Operator,
        Self::ReadOnly,
    ];

    /// As it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Operator => "operator",
            Self::ReadOnly => "read-only",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
