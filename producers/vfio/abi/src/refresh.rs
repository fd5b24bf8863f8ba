//! Refresh rate of a head, an exact ratio.

use std::fmt;

/// A refresh rate in hertz, held as an exact ratio in lowest terms.
///
/// Range 1 Hz to 1000 Hz. Neither 60 Hz nor 60000/1001 Hz has a period of whole nanoseconds.
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
}
