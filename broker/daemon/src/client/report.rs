//! What the two sides say at their end.

use std::fmt;

use serde::Serialize;

/// The end of a producer's process.
#[derive(Debug, Serialize)]
pub(super) struct Produced {
    pub(super) links: u64,
    pub(super) produced: u64,
    /// Times a daemon answered: more than one where it was restarted.
    pub(super) connects: u64,
}

/// The end of a consumer's process.
#[derive(Debug, Serialize)]
pub(super) struct Consumed {
    pub(super) links: u64,
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) invented: u64,
    /// Links that were bound to the producer's own eventfd.
    pub(super) bound: usize,
    /// How the first of them delivered last.
    pub(super) path: String,
    pub(super) reason: String,
    /// As with a producer.
    pub(super) connects: u64,
}

impl fmt::Display for Produced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "produced {} on {} links", self.produced, self.links)
    }
}

impl fmt::Display for Consumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "delivered {} of {} on {} links, lost {}, invented {}; {} bound to their producer, path {}: {}",
            self.delivered,
            self.expected,
            self.links,
            self.lost,
            self.invented,
            self.bound,
            self.path,
            self.reason
        )
    }
}
