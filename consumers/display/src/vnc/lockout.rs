//! Wrong passwords in a row, and what they cost whoever comes next.

use std::time::Instant;

use super::limits::VncLimits;

/// Of all viewers: one that guesses can connect anew for each guess.
#[derive(Debug, Default)]
pub(super) struct Lockout {
    /// Wrong passwords since the last right one.
    failures: u32,
    /// When the last of them came.
    failed: Option<Instant>,
}

impl Lockout {
    pub(super) fn right_password(&mut self) {
        self.failures = 0;
    }

    pub(super) fn wrong_password(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.failed = Some(now);
    }

    /// Whether no password is looked at.
    pub(super) fn is_on(&self, limits: &VncLimits, now: Instant) -> bool {
        let lately = |failed: Instant| now.saturating_duration_since(failed) < limits.lockout;
        self.failures >= limits.failures && self.failed.is_some_and(lately)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lockout_is_on_from_the_last_failure_allowed_until_its_time_is_up() {
        let limits = VncLimits {
            failures: 2,
            lockout: Duration::from_secs(10),
            ..VncLimits::default()
        };
        let start = Instant::now();
        let mut lockout = Lockout::default();
        lockout.wrong_password(start);
        assert!(!lockout.is_on(&limits, start));
        lockout.wrong_password(start);
        assert!(lockout.is_on(&limits, start));
        assert!(lockout.is_on(&limits, start + Duration::from_millis(9999)));
        assert!(!lockout.is_on(&limits, start + limits.lockout));

        // Another wrong one begins it again, a right one ends it.
        let later = start + limits.lockout;
        lockout.wrong_password(later);
        assert!(lockout.is_on(&limits, later));
        lockout.right_password();
        assert!(!lockout.is_on(&limits, later));
    }
}
