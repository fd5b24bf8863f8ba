//! How finely the scheduler's wake-ups are placed.

use std::time::Duration;

use crate::clock::MonotonicTime;

/// When the scheduler wakes up for a vblank whose time has come.
///
/// The vblank times themselves stay exact in both: lateness does not add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Granularity {
    /// At each vblank. Costs a wake-up per vblank, unless heads coincide.
    #[default]
    Exact,
    /// At the next multiple of `grid` on `CLOCK_MONOTONIC`, so that heads share wake-ups. A
    /// vblank is up to `grid` late, besides what the host adds. Worth its lateness from about
    /// a hundred heads on. A grid of zero is [`Exact`](Self::Exact); one longer than a head's
    /// period merges that head's vblanks, counted as missed.
    Coalesced {
        /// Distance of two wake-ups, 250 µs for instance.
        grid: Duration,
    },
}

impl Granularity {
    /// When to wake up for `deadline`.
    pub(crate) fn wakeup(self, deadline: MonotonicTime) -> MonotonicTime {
        let grid = match self {
            Self::Exact => 0,
            Self::Coalesced { grid } => u64::try_from(grid.as_nanos()).unwrap_or(u64::MAX),
        };
        if grid == 0 {
            return deadline;
        }
        let wakeup = deadline.as_nanos().checked_next_multiple_of(grid);
        wakeup.map_or(MonotonicTime::MAX, MonotonicTime::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Granularity = Granularity::Coalesced {
        grid: Duration::from_micros(250),
    };

    #[test]
    fn wakeup_is_the_deadline_when_exact_or_on_a_grid_of_zero() {
        let deadline = MonotonicTime::from_nanos(250_001);
        let zero = Granularity::Coalesced {
            grid: Duration::ZERO,
        };
        assert_eq!(Granularity::Exact.wakeup(deadline), deadline);
        assert_eq!(zero.wakeup(deadline), deadline);
    }

    #[test]
    fn wakeup_is_rounded_up_to_the_grid() {
        for (deadline, wakeup) in [(0, 0), (1, 250_000), (250_000, 250_000), (250_001, 500_000)] {
            let rounded = GRID.wakeup(MonotonicTime::from_nanos(deadline));
            assert_eq!(rounded, MonotonicTime::from_nanos(wakeup));
        }
    }

    #[test]
    fn wakeup_beyond_the_clock_is_never() {
        let last = MonotonicTime::from_nanos(u64::MAX - 1);
        assert_eq!(GRID.wakeup(last), MonotonicTime::MAX);
    }
}
