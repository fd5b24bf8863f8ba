//! What a client is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use irqbroker_core::ProducerInfo;
use irqbroker_core::Token;
use irqbroker_protocol::Name;
use irqbroker_protocol::Scope;

use super::producer::Redirect;

/// How long to wait between attempts to connect: the first time, twice as long with each failure,
/// and at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(10),
            longest: Duration::from_millis(100),
        }
    }
}

impl Backoff {
    /// How long to wait after this many failures.
    pub(super) fn after(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(0);
        let wait = self.first.checked_mul(factor.max(1));
        match factor {
            0 => self.longest,
            _ => wait.unwrap_or(self.longest).min(self.longest),
        }
    }
}

/// Where the daemon is, and how to be known there.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The control socket.
    pub socket: PathBuf,
    /// What the process calls itself, for people.
    pub name: String,
    /// What it asks the daemon for, which refuses the connection where one of them is not granted:
    /// both sides unless changed.
    pub scopes: Vec<Scope>,
    /// How long its objects shall outlive the connection, for a hand-over.
    pub linger: Duration,
    /// How long to wait between attempts to connect.
    pub backoff: Backoff,
}

impl ClientOptions {
    /// A client of the daemon at `socket` for producers and consumers, which hands nothing over.
    pub fn new(socket: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self {
            socket: socket.into(),
            name: name.into(),
            scopes: vec![Scope::Producer, Scope::Consumer],
            linger: Duration::ZERO,
            backoff: Backoff::default(),
        }
    }
}

/// A producer of this process.
#[derive(Debug, Clone)]
pub struct ProducerSpec {
    /// Its name, one of a kind among the daemon's producers, and the same after a restart.
    pub name: Name,
    /// The link it belongs to; without it the equal eventfd pairs.
    pub link: Option<Name>,
    /// The eventfd it signals.
    pub event: Token,
    /// What it tells of itself.
    pub info: ProducerInfo,
    /// How to have it signal another eventfd, if it can.
    pub redirect: Option<Arc<dyn Redirect>>,
}

/// A consumer of this process.
#[derive(Debug, Clone)]
pub struct ConsumerSpec {
    /// Its name, one of a kind among the daemon's consumers, and the same after a restart.
    pub name: Name,
    /// The link it belongs to; without it the equal eventfd pairs.
    pub link: Option<Name>,
    /// An eventfd of its own, which it must give where there is no link name.
    pub event: Option<Token>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_the_longest() {
        let backoff = Backoff {
            first: Duration::from_millis(10),
            longest: Duration::from_millis(50),
        };
        let waits: Vec<u128> = [1, 2, 3, 4, 40, u32::MAX]
            .map(|failures| backoff.after(failures).as_millis())
            .to_vec();
        assert_eq!(waits, [10, 20, 40, 50, 50, 50]);
    }
}
