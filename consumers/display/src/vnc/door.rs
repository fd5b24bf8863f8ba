//! Who is let in: nobody while as many look as may, or while passwords are being guessed.

use std::time::Instant;

use super::error::ProtocolError;
use super::limits::VncLimits;

/// What counts for all viewers alike, whoever they are.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// Wrong passwords since the last right one, and when the last of them came.
    failures: u32,
    failed: Option<Instant>,
}

impl Door {
    /// Why a viewer is not let in just now, while so many look.
    pub(super) fn refusal(
        &self,
        limits: &VncLimits,
        looking: usize,
        now: Instant,
    ) -> Option<ProtocolError> {
        if looking >= limits.clients {
            return Some(ProtocolError::Full);
        }
        let lately = |failed: Instant| now.saturating_duration_since(failed) < limits.lockout;
        let locked = self.failures >= limits.failures && self.failed.is_some_and(lately);
        locked.then_some(ProtocolError::LockedOut)
    }

    /// Somebody sent a wrong password.
    pub(super) fn fail(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.failed = Some(now);
    }

    /// Somebody was let in.
    pub(super) const fn admit(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn door_is_shut_from_the_last_failure_allowed_until_its_time_is_up() {
        let limits = VncLimits {
            failures: 2,
            lockout: Duration::from_secs(10),
            ..VncLimits::default()
        };
        let is_shut = |door: &Door, now| {
            let refusal = door.refusal(&limits, 0, now);
            matches!(refusal, Some(ProtocolError::LockedOut))
        };
        let start = Instant::now();
        let mut door = Door::default();
        door.fail(start);
        assert!(!is_shut(&door, start));
        door.fail(start);
        assert!(is_shut(&door, start));
        assert!(is_shut(&door, start + Duration::from_millis(9999)));
        assert!(!is_shut(&door, start + limits.lockout));

        // Another wrong one begins it again, a right one ends it.
        let later = start + limits.lockout;
        door.fail(later);
        assert!(is_shut(&door, later));
        door.admit();
        assert!(!is_shut(&door, later));
    }
}
