//! Latencies as they are recorded (nanoseconds) and as they are reported (microseconds).

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Recorded to one part in a thousand, far finer than two runs agree.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Longest latency told apart, in nanoseconds: a minute. Longer ones count as this.
const LONGEST: u64 = 60_000_000_000;

/// A distribution of latencies.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    nanoseconds: Histogram<u64>,
}

impl Latencies {
    /// An empty distribution; it takes all its memory (200 KiB) now and none while recording.
    ///
    /// # Errors
    ///
    /// The histogram could not be made.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let nanoseconds = Histogram::new_with_bounds(1, LONGEST, SIGNIFICANT_DIGITS)
            .context("cannot make a latency histogram")?;
        Ok(Self { nanoseconds })
    }

    /// Adds one latency, in nanoseconds.
    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.nanoseconds.saturating_record(nanoseconds);
    }

    /// Adds all latencies of another distribution.
    ///
    /// # Errors
    ///
    /// The two were not made alike.
    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.nanoseconds
            .add(&other.nanoseconds)
            .context("cannot add two latency histograms")
    }

    /// How many latencies were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.nanoseconds.len()
    }

    /// The latency, in microseconds, that the share `quantile` (0 to 1) of all did not exceed;
    /// none where nothing was recorded.
    pub(crate) fn at(&self, quantile: f64) -> Option<f64> {
        (!self.nanoseconds.is_empty())
            .then(|| microseconds(self.nanoseconds.value_at_quantile(quantile)))
    }

    /// The percentiles to report.
    pub(crate) fn summary(&self) -> LatencyUs {
        LatencyUs {
            p50: self.at(0.50),
            p90: self.at(0.90),
            p99: self.at(0.99),
            p999: self.at(0.999),
            max: self.at(1.0),
        }
    }
}

/// Percentiles in microseconds to three decimals; `null` where nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct LatencyUs {
    /// The median.
    pub(crate) p50: Option<f64>,
    /// The 90th percentile.
    pub(crate) p90: Option<f64>,
    /// The 99th percentile.
    pub(crate) p99: Option<f64>,
    /// The 99.9th percentile.
    pub(crate) p999: Option<f64>,
    /// The longest.
    pub(crate) max: Option<f64>,
}

impl LatencyUs {
    /// The titles of [`cells`](Self::cells).
    pub(crate) const TITLES: [&'static str; 5] = ["p50", "p90", "p99", "p99.9", "max"];

    /// The percentiles as table cells.
    pub(crate) fn cells(&self) -> [String; 5] {
        [self.p50, self.p90, self.p99, self.p999, self.max].map(cell)
    }
}

/// A microsecond value as a table cell.
pub(crate) fn cell(microseconds: Option<f64>) -> String {
    microseconds.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53 ns, which is 104 days"
)]
fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_of_recorded_nanoseconds_is_in_microseconds() {
        let mut latencies = Latencies::new().unwrap();
        // 1 µs to 1000 µs, so the percentile and its value are the same number.
        for microsecond in 1..=1000 {
            latencies.record(microsecond * 1000);
        }
        let summary = latencies.summary();
        let within =
            |value: Option<f64>, expected: f64| (value.unwrap() / expected - 1.0).abs() < 0.002;
        assert!(within(summary.p50, 500.0), "{summary:?}");
        assert!(within(summary.p99, 990.0), "{summary:?}");
        assert!(within(summary.max, 1000.0), "{summary:?}");
    }

    #[test]
    fn summary_of_nothing_has_the_keys_without_values() {
        let summary = Latencies::new().unwrap().summary();
        assert_eq!(
            serde_json::to_string(&summary).unwrap(),
            r#"{"p50":null,"p90":null,"p99":null,"p999":null,"max":null}"#
        );
    }

    #[test]
    fn record_of_more_than_a_minute_counts_as_a_minute() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(u64::MAX);
        let longest = latencies.at(1.0).unwrap();
        assert!((longest / 60e6 - 1.0).abs() < 0.002, "{longest}");
    }

    #[test]
    fn add_counts_both_distributions() {
        let (mut a, mut b) = (Latencies::new().unwrap(), Latencies::new().unwrap());
        a.record(1000);
        b.record(3_000_000_000);
        a.add(&b).unwrap();
        assert_eq!(a.count(), 2);
    }
}
