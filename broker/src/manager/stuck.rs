//! Whether a line is served, and gets anywhere.

use std::time::Duration;
use std::time::Instant;

use irqbroker_core::Reason;

use crate::manager::meter::Meter;

/// How long a guest may take to end an interrupt of a line, and how often a line may be asserted
/// again right after it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineLimits {
    /// An assertion whose EOI takes longer is reported as [`Reason::NoEoi`].
    pub eoi: Duration,
    /// More EOIs a second are reported as [`Reason::LineStuck`].
    pub eois_per_second: u32,
}

impl Default for LineLimits {
    /// Two seconds, and 50 000: half of what makes Linux give a line up.
    fn default() -> Self {
        Self {
            eoi: Duration::from_secs(2),
            eois_per_second: 50_000,
        }
    }
}

/// A line's assertions and their EOIs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Serving {
    eois: u64,
    meter: Meter,
    /// When the assertion that waits for its EOI was first looked at, and how many came before.
    waiting: Option<(Instant, u64)>,
    trouble: Option<Reason>,
}

impl Serving {
    pub(super) fn eoi(&mut self) {
        self.eois += 1;
    }

    /// So many have come by now, as somebody else has counted; whether that is news.
    pub(super) fn ended(&mut self, eois: u64) -> bool {
        std::mem::replace(&mut self.eois, eois) != eois
    }

    pub(super) fn end(&mut self) {
        self.waiting = None;
        self.trouble = None;
    }

    /// EOIs a second when they were measured last.
    pub(super) fn per_second(&self) -> u64 {
        self.meter.per_second()
    }

    pub(super) fn trouble(&self) -> Option<Reason> {
        self.trouble
    }

    /// Looks at the line now; what is wrong with it, if that has changed.
    pub(super) fn look(
        &mut self,
        now: Instant,
        asserted: bool,
        limits: &LineLimits,
    ) -> Option<Option<Reason>> {
        let rate = self.meter.measure(now, self.eois);
        self.waiting = match self.waiting {
            _ if !asserted => None,
            Some((since, eois)) if eois == self.eois => Some((since, eois)),
            _ => Some((now, self.eois)),
        };
        let overdue = self
            .waiting
            .is_some_and(|(since, _)| now.saturating_duration_since(since) >= limits.eoi);
        let trouble = if overdue {
            Some(Reason::NoEoi)
        } else if rate > u64::from(limits.eois_per_second) {
            Some(Reason::LineStuck)
        } else {
            None
        };
        let before = std::mem::replace(&mut self.trouble, trouble);
        (before != trouble).then_some(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LineLimits = LineLimits {
        eoi: Duration::from_secs(2),
        eois_per_second: 100,
    };

    #[test]
    fn serving_reports_an_eoi_that_does_not_come_and_forgets_it_when_it_does() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut serving = Serving::default();
        assert_eq!(serving.look(at(0), true, &LIMITS), None);
        assert_eq!(serving.look(at(1), true, &LIMITS), None);
        assert_eq!(
            serving.look(at(2), true, &LIMITS),
            Some(Some(Reason::NoEoi))
        );
        assert_eq!(serving.look(at(3), true, &LIMITS), None);
        serving.eoi();
        assert_eq!(serving.look(at(4), true, &LIMITS), Some(None));
    }

    #[test]
    fn serving_reports_a_line_that_is_asserted_again_after_every_eoi() {
        let start = Instant::now();
        let mut serving = Serving::default();
        assert_eq!(serving.look(start, true, &LIMITS), None);
        (0..201).for_each(|_| serving.eoi());
        let later = start + Duration::from_secs(1);
        assert_eq!(
            serving.look(later, true, &LIMITS),
            Some(Some(Reason::LineStuck))
        );
        let later = later + Duration::from_secs(1);
        assert_eq!(serving.look(later, false, &LIMITS), Some(None));
    }
}
