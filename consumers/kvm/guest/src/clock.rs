//! Turns TSC ticks into nanoseconds of `CLOCK_MONOTONIC`.

use std::time::Duration;

use rustix::time::ClockId;

use crate::tsc_now;

/// Readings per pair; the one with the shortest way there and back counts.
const TRIES: u32 = 32;
/// Time between the two pairs: an error of 50 ns in each makes 5 ppm.
const BASELINE: Duration = Duration::from_millis(20);
/// Fraction bits of the rate; at 1-5 GHz it has 38 to 40 significant bits.
const RATE_SHIFT: u32 = 40;

/// Why the TSC could not be calibrated.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClockError {
    /// TSC or monotonic clock stood still or went back: no rate can be told.
    #[error("tsc advanced {ticks} ticks in {nanos} ns of the monotonic clock")]
    Unusable {
        /// Ticks between the two pairs, 0 if they went back.
        ticks: u64,
        /// Nanoseconds between the two pairs, 0 if they went back.
        nanos: u64,
    },
}

/// The TSC's rate, and one instant at which both clocks were read.
///
/// Assumes a TSC of constant rate that is equal on all cores, as Linux's own `tsc` clock source does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TscClock {
    anchor: Pair,
    /// Nanoseconds per tick, times 2^[`RATE_SHIFT`].
    rate: u64,
}

/// Both clocks at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    tsc: u64,
    nanos: u64,
}

impl TscClock {
    /// Reads both clocks twice, 20 ms apart; the rate is good to some 5 ppm.
    ///
    /// # Errors
    ///
    /// [`ClockError::Unusable`] where one of the clocks did not advance.
    pub fn calibrate() -> Result<Self, ClockError> {
        let first = Pair::read();
        std::thread::sleep(BASELINE);
        Self::from_pairs(first, Pair::read())
    }

    fn from_pairs(first: Pair, second: Pair) -> Result<Self, ClockError> {
        let ticks = second.tsc.saturating_sub(first.tsc);
        let nanos = second.nanos.saturating_sub(first.nanos);
        let unusable = ClockError::Unusable { ticks, nanos };
        if ticks == 0 || nanos == 0 {
            return Err(unusable);
        }
        let rate = (u128::from(nanos) << RATE_SHIFT) / u128::from(ticks);
        Ok(Self {
            anchor: first,
            rate: u64::try_from(rate).map_err(|_| unusable)?,
        })
    }

    /// Length of `ticks` in nanoseconds; `u64::MAX` if it does not fit.
    #[must_use]
    pub fn nanos(&self, ticks: u64) -> u64 {
        let nanos = (u128::from(ticks) * u128::from(self.rate)) >> RATE_SHIFT;
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// Ticks that `duration` takes, rounded down; `u64::MAX` if it does not fit.
    #[must_use]
    pub fn ticks(&self, duration: Duration) -> u64 {
        let ticks = duration
            .as_nanos()
            .checked_mul(1 << RATE_SHIFT)
            .map_or(u128::MAX, |scaled| scaled / u128::from(self.rate.max(1)));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// Nanoseconds from one stamp to another, negative if `to` is the earlier one.
    #[must_use]
    pub fn nanos_between(&self, from: u64, to: u64) -> i64 {
        let length = i64::try_from(self.nanos(to.abs_diff(from))).unwrap_or(i64::MAX);
        if to < from { -length } else { length }
    }

    /// `CLOCK_MONOTONIC` at a stamp, in nanoseconds; 0 for stamps before its start.
    #[must_use]
    pub fn monotonic_nanos(&self, tsc: u64) -> u64 {
        let away = self.nanos(tsc.abs_diff(self.anchor.tsc));
        if tsc < self.anchor.tsc {
            self.anchor.nanos.saturating_sub(away)
        } else {
            self.anchor.nanos.saturating_add(away)
        }
    }

    /// The TSC's rate in kilohertz, as calibrated.
    #[must_use]
    pub fn khz(&self) -> u64 {
        self.ticks(Duration::from_millis(1))
    }
}

impl Pair {
    /// The tightest of a number of readings, with the TSC taken at the middle of it.
    fn read() -> Self {
        let mut best = (u64::MAX, Self { tsc: 0, nanos: 0 });
        for _ in 0..TRIES {
            let before = tsc_now();
            let nanos = monotonic_nanos();
            let width = tsc_now().saturating_sub(before);
            if width < best.0 {
                let tsc = before + width / 2;
                best = (width, Self { tsc, nanos });
            }
        }
        best.1
    }
}

fn monotonic_nanos() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2.5 GHz: five ticks are two nanoseconds.
    fn clock() -> TscClock {
        let first = Pair {
            tsc: 1_000_000,
            nanos: 500_000,
        };
        let second = Pair {
            tsc: 6_000_000,
            nanos: 2_500_000,
        };
        TscClock::from_pairs(first, second).unwrap()
    }

    #[test]
    fn nanos_between_has_the_sign_of_the_order() {
        assert_eq!(clock().nanos_between(0, 2_500_000_000), 999_999_999);
        assert_eq!(clock().nanos_between(2_500_000_000, 0), -999_999_999);
        assert_eq!(clock().nanos_between(7, 7), 0);
    }

    #[test]
    fn monotonic_nanos_counts_both_ways_from_the_anchor() {
        assert_eq!(clock().monotonic_nanos(1_000_000), 500_000);
        assert_eq!(clock().monotonic_nanos(1_002_500), 500_999);
        assert_eq!(clock().monotonic_nanos(0), 100_001);
    }

    #[test]
    fn ticks_is_the_inverse_of_nanos_within_one() {
        let ticks = clock().ticks(Duration::from_nanos(2_000_000));
        assert!(ticks.abs_diff(5_000_000) <= 1);
        assert!(clock().khz().abs_diff(2_500_000) <= 1);
        assert_eq!(clock().ticks(Duration::MAX), u64::MAX);
    }

    #[test]
    fn from_pairs_refuses_a_clock_that_stands_still() {
        let pair = Pair { tsc: 10, nanos: 10 };
        let later = Pair { tsc: 20, ..pair };
        let expected = ClockError::Unusable {
            ticks: 10,
            nanos: 0,
        };
        assert_eq!(TscClock::from_pairs(pair, later), Err(expected));
    }

    #[test]
    fn calibrated_clock_agrees_with_the_monotonic_clock() {
        let clock = TscClock::calibrate().unwrap();
        let before = monotonic_nanos();
        let at = clock.monotonic_nanos(tsc_now());
        let after = monotonic_nanos();
        // A hundredth of its age and a millisecond: its error is far smaller, unless readings of the TSC are slow
        // or the core is taken away in each of them.
        let slack = (after - clock.anchor.nanos) / 100 + 1_000_000;
        assert!(at + slack >= before);
        assert!(at <= after + slack);
    }
}
