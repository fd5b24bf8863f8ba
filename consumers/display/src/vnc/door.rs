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
    pub(super) fn refusal(&self, limits: &VncLimits, looking: usize) -> Option<ProtocolError> {
        if looking >= limits.clients {
            return Some(ProtocolError::Full);
        }
        let since = self
            .failed
            .filter(|_| self.failures >= limits.failures)?
            .elapsed();
        (since < limits.lockout).then_some(ProtocolError::LockedOut)
    }

    /// Somebody sent a wrong password.
    pub(super) fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.failed = Some(Instant::now());
    }

    /// Somebody was let in.
    pub(super) const fn admit(&mut self) {
        self.failures = 0;
    }
}
