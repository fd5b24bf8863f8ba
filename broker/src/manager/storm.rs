//! The storm guard: a vector that fires too often is relayed, and held down to a rate.

use std::time::Duration;
use std::time::Instant;

/// A limit is kept over windows of this length.
pub(super) const WINDOW: Duration = Duration::from_millis(10);
/// How long it must be calm until the guard lets go.
const CALM: Duration = Duration::from_secs(1);

/// A vector that is held down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storm {
    /// Interrupts the window began with.
    window: u64,
    calm_since: Option<Instant>,
}

/// What to do with a vector that is held down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A new window begins.
    LetPass,
    /// The storm is over.
    Over,
}

impl Storm {
    /// Begins with a window, `relayed` interrupts having passed before.
    pub(super) fn new(relayed: u64) -> Self {
        Self {
            window: relayed,
            calm_since: None,
        }
    }

    /// Whether the window has had its share by now.
    pub(super) fn is_window_full(&self, relayed: u64, limit: u32) -> bool {
        relayed.saturating_sub(self.window) >= share(limit)
    }

    /// A window ends, `per_second` being the rate at which the device fires.
    pub(super) fn next_window(
        &mut self,
        now: Instant,
        per_second: u64,
        relayed: u64,
        limit: u32,
    ) -> Verdict {
        self.window = relayed;
        // Half of the limit, lest one just around it goes to and fro.
        if per_second > u64::from(limit) / 2 {
            self.calm_since = None;
            return Verdict::LetPass;
        }
        let since = *self.calm_since.get_or_insert(now);
        match now.saturating_duration_since(since) >= CALM {
            true => Verdict::Over,
            false => Verdict::LetPass,
        }
    }
}

/// Interrupts of a window, at least one.
fn share(limit: u32) -> u64 {
    let share = u128::from(limit) * WINDOW.as_millis() / 1000;
    u64::try_from(share).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storm_window_is_full_after_its_share_of_the_limit() {
        let storm = Storm::new(7);
        assert!(!storm.is_window_full(16, 1000));
        assert!(storm.is_window_full(17, 1000));
        // Fewer than one a window would be none at all.
        assert!(storm.is_window_full(8, 1));
    }

    #[test]
    fn storm_is_over_after_a_second_at_half_of_the_limit() {
        let start = Instant::now();
        let mut storm = Storm::new(0);
        let mut at =
            |millis, rate| storm.next_window(start + Duration::from_millis(millis), rate, 0, 1000);
        assert_eq!(at(0, 5000), Verdict::LetPass);
        assert_eq!(at(100, 500), Verdict::LetPass);
        assert_eq!(at(1050, 501), Verdict::LetPass);
        assert_eq!(at(1100, 500), Verdict::LetPass);
        assert_eq!(at(2050, 500), Verdict::LetPass);
        assert_eq!(at(2100, 500), Verdict::Over);
    }
}
