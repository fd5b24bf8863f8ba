//! Refresh rate of a head, an exact ratio.

use std::fmt;

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// A refresh rate in hertz, held as an exact ratio in lowest terms.
///
/// Range 1 Hz to 1000 Hz. Neither 60 Hz nor 60000/1001 Hz has a period of whole nanoseconds, so
/// times are computed from the ratio and rounded down once each, see [`Cadence`](crate::Cadence).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Refresh {
    numerator: u32,
    denominator: u32,
}

/// Why a ratio is not a refresh rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// There is no such number.
    #[error("refresh rate {numerator}/0 Hz has no value")]
    ZeroDenominator {
        /// The ratio's upper half.
        numerator: u32,
    },
    /// Below 1 Hz or above 1000 Hz.
    #[error("refresh rate {numerator}/{denominator} Hz is not in 1 Hz ..= 1000 Hz")]
    OutOfRange {
        /// The ratio's upper half.
        numerator: u32,
        /// The ratio's lower half.
        denominator: u32,
    },
}

impl Refresh {
    /// 60 Hz.
    pub const HZ_60: Self = Self {
        numerator: 60,
        denominator: 1,
    };

    /// Highest rate, in hertz.
    pub const MAX_HZ: u32 = 1000;

    /// `numerator / denominator` hertz: 60/1, 60000/1001, or a mode's pixel clock in hertz over
    /// its total pixels per frame.
    ///
    /// # Errors
    ///
    /// See [`RefreshError`].
    pub const fn new(numerator: u32, denominator: u32) -> Result<Self, RefreshError> {
        if denominator == 0 {
            return Err(RefreshError::ZeroDenominator { numerator });
        }
        if numerator < denominator || numerator as u64 > Self::MAX_HZ as u64 * denominator as u64 {
            return Err(RefreshError::OutOfRange {
                numerator,
                denominator,
            });
        }
        let divisor = greatest_common_divisor(numerator, denominator);
        Ok(Self {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
        })
    }

    /// A rate in thousandths of a hertz, as mode lists give it: 60 000 is 60 Hz.
    ///
    /// # Errors
    ///
    /// See [`RefreshError::OutOfRange`].
    pub const fn from_millihertz(millihertz: u32) -> Result<Self, RefreshError> {
        Self::new(millihertz, 1000)
    }

    /// The ratio's upper half, in lowest terms.
    #[must_use]
    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// The ratio's lower half, in lowest terms.
    #[must_use]
    pub const fn denominator(self) -> u32 {
        self.denominator
    }

    /// Nanoseconds that `frames` frames take, rounded down; saturates.
    pub(crate) fn nanos_of(self, frames: u64) -> u64 {
        // Below 2^64 * 2^30 * 2^32, so the product is exact.
        let scaled = u128::from(frames) * NANOS_PER_SEC * u128::from(self.denominator);
        u64::try_from(scaled / u128::from(self.numerator)).unwrap_or(u64::MAX)
    }

    /// The last frame whose [`nanos_of`](Self::nanos_of) is at most `nanos`.
    pub(crate) fn frames_in(self, nanos: u64) -> u64 {
        // floor(n * period) <= nanos  <=>  n * period < nanos + 1: the last integer below a ratio.
        let scaled = (u128::from(nanos) + 1) * u128::from(self.numerator);
        let frames = scaled.div_ceil(NANOS_PER_SEC * u128::from(self.denominator)) - 1;
        u64::try_from(frames).unwrap_or(u64::MAX)
    }
}

const fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl fmt::Display for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(f, "{} Hz", self.numerator),
            _ => write!(f, "{}/{} Hz", self.numerator, self.denominator),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refresh_of_equal_ratios_is_equal() {
        assert_eq!(Refresh::new(120, 2), Ok(Refresh::HZ_60));
        assert_eq!(Refresh::from_millihertz(60_000), Ok(Refresh::HZ_60));
        assert_eq!(
            Refresh::new(60_000, 1001).unwrap().to_string(),
            "60000/1001 Hz"
        );
    }

    #[test]
    fn refresh_with_zero_denominator_is_refused() {
        let refused = Refresh::new(60, 0);
        assert_eq!(
            refused,
            Err(RefreshError::ZeroDenominator { numerator: 60 })
        );
    }

    #[test]
    fn refresh_is_accepted_at_both_ends_of_the_range_and_refused_beyond() {
        assert_eq!(Refresh::from_millihertz(1_000), Refresh::new(1, 1));
        assert_eq!(Refresh::from_millihertz(1_000_000), Refresh::new(1000, 1));
        for millihertz in [0, 999, 1_000_001, u32::MAX] {
            assert_eq!(
                Refresh::from_millihertz(millihertz),
                Err(RefreshError::OutOfRange {
                    numerator: millihertz,
                    denominator: 1000
                })
            );
        }
    }

    #[test]
    fn nanos_of_the_largest_frame_and_denominator_saturates() {
        // The slowest rate with the largest denominator, 1 Hz by a ratio that cannot be reduced.
        let slow = Refresh::new(u32::MAX, u32::MAX - 1).unwrap();
        assert_eq!(slow.nanos_of(u64::MAX), u64::MAX);
    }
}
