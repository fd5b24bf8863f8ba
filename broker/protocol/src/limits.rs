//! What one connection may send and hold.

use serde::Deserialize;
use serde::Serialize;

/// Longest body of a message, in bytes; a daemon may allow less.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Most fds of one packet (`SCM_MAX_FD`, `include/net/scm.h`).
pub const MAX_FDS: usize = 253;

/// The limits of one connection, told in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest body, in bytes.
    pub message_bytes: usize,
    /// Most fds of one packet.
    pub message_fds: usize,
    /// Most requests of one batch.
    pub batch_requests: usize,
    /// Most producers and consumers of one connection.
    pub objects: usize,
    /// Requests a second, on average; a burst of as many is let through.
    pub requests_per_second: u32,
    /// Bytes the daemon keeps for a peer that does not read, before it closes the connection.
    pub backlog_bytes: usize,
    /// Longest time objects outlive their connection, in milliseconds.
    pub linger_ms: u32,
    /// Most rows of one answer to `links`.
    pub link_rows: usize,
}
