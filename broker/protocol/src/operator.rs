//! What operators ask: status, links, explain, paths.

use serde::Deserialize;
use serde::Serialize;

use crate::delivery::PathPolicy;
use crate::link_row::LinkRow;
use crate::strict;

/// How the daemon stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What the daemon calls itself.
    pub daemon: String,
    /// Its process id.
    pub pid: u32,
    /// A number that differs from that of every earlier run.
    pub run: u64,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// Open connections.
    pub connections: usize,
    /// Producers registered.
    pub producers: usize,
    /// Consumers registered.
    pub consumers: usize,
    /// Objects whose connection has closed, and that stay for a hand-over.
    pub lingering: usize,
    /// Links by state.
    pub links: Counts,
    /// Fds the daemon holds for its peers.
    pub fds: usize,
    /// What it did in this run.
    pub relayed: u64,
    /// Claims of an earlier run that were delivered again.
    pub recovered: u64,
    /// Requests done.
    pub requests: u64,
    /// Requests refused, and packets that were none.
    pub refused: u64,
    /// Times it woke up.
    pub wakeups: u64,
    /// vGPUs it hosts.
    pub vgpus: usize,
    /// What of its sandbox stands, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// What came of the latest reload of its configuration, for people; none without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<String>,
}

/// Links by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// One side is missing.
    pub unmatched: usize,
    /// Masked.
    pub masked: usize,
    /// Forwarded in user space.
    pub relay: usize,
    /// Delivered by the kernel.
    pub bypass: usize,
    /// Posted.
    pub posted: usize,
}

/// Asks for links, by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListLinks {
    /// Only links with a higher id; 0 for all.
    #[serde(default)]
    pub after: u64,
}

/// Some of the links. There may be more as long as [`next`](Self::next) is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// In the order of their ids.
    pub links: Vec<LinkRow>,
    /// What to give as [`ListLinks::after`] for the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Asks why a link is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// The link's id, its name, or the name of its producer or consumer.
    pub link: String,
}

/// Why a link is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The link.
    pub row: LinkRow,
    /// What led to its state, the first cause first.
    pub causes: Vec<Cause>,
}

/// One step of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What is the case, one sentence.
    pub text: String,
    /// What would change it, where something would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Allows or forbids a link the better paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPath {
    /// As with [`Explain::link`].
    pub link: String,
    /// What is allowed.
    #[serde(deserialize_with = "strict::known")]
    pub path: PathPolicy,
}
