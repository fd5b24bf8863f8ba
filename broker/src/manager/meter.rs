//! How often an interrupt fires.

use std::time::Duration;
use std::time::Instant;

/// Measures a rate from a counter that is looked at now and then.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    /// When it was looked at, and the count if somebody counted.
    last: Option<(Instant, Option<u64>)>,
    per_second: u64,
}

impl Meter {
    /// The rate since the counter was looked at before; the old one if that was just now.
    pub(super) fn measure(&mut self, now: Instant, count: u64) -> u64 {
        match self.last {
            Some((then, Some(_))) if now <= then => return self.per_second,
            Some((then, Some(before))) => {
                self.per_second = rate(count.saturating_sub(before), now - then);
            }
            Some((_, None)) | None => {}
        }
        self.last = Some((now, Some(count)));
        self.per_second
    }

    /// Nobody counts: what was measured before counts half.
    ///
    /// So an interrupt that the kernel has delivered for long is taken for a quiet one, and is
    /// measured again once it has had to make room.
    pub(super) fn fade(&mut self, now: Instant) -> u64 {
        if self.last.is_none_or(|(then, _)| then < now) {
            self.per_second /= 2;
        }
        self.last = Some((now, None));
        self.per_second
    }

    /// The rate measured last.
    pub(super) fn per_second(&self) -> u64 {
        self.per_second
    }
}

fn rate(events: u64, elapsed: Duration) -> u64 {
    let nanos = elapsed.as_nanos().max(1);
    u64::try_from(u128::from(events) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meter_rate_is_events_by_time_and_fades_unobserved() {
        let start = Instant::now();
        let mut meter = Meter::default();
        assert_eq!(meter.measure(start, 1000), 0);
        let later = start + Duration::from_millis(100);
        assert_eq!(meter.measure(later, 1050), 500);
        assert_eq!(meter.measure(later, 9999), 500);
        // Once a look, however often it is asked at that time.
        assert_eq!(meter.fade(later), 500);
        let later = later + Duration::from_millis(100);
        assert_eq!(meter.fade(later), 250);
        assert_eq!(meter.fade(later), 250);
        assert_eq!(meter.measure(later, 5), 250);
        assert_eq!(meter.measure(later + Duration::from_secs(1), 45), 40);
    }
}
