//! Time as vblanks are counted in: nanoseconds of `CLOCK_MONOTONIC`.

use std::fmt;
use std::time::Duration;

use rustix::time::ClockId;

/// A point of `CLOCK_MONOTONIC`, in nanoseconds since its origin.
///
/// Unlike [`std::time::Instant`] it can be written down, compared across processes of one host,
/// and made up by a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MonotonicTime(u64);

impl MonotonicTime {
    /// The clock's origin.
    pub const ORIGIN: Self = Self(0);

    /// 584 years after the origin; stands for never.
    pub const MAX: Self = Self(u64::MAX);

    /// The point `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// What the host's `CLOCK_MONOTONIC` shows.
    #[must_use]
    pub fn now() -> Self {
        let now = rustix::time::clock_gettime(ClockId::Monotonic);
        let part = |value: i64| u64::try_from(value).unwrap_or(0);
        Self(part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec))
    }

    /// Time since `earlier`; zero if that is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Where an embedder that drives the scheduler itself takes its time from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now. Called with locks held: must not block.
    fn now(&self) -> MonotonicTime;
}
