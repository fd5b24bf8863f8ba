//! When the vblanks of a head happen: a start and an exact rate.

use crate::clock::MonotonicTime;
use crate::refresh::Refresh;
use crate::refresh::frames_in;
use crate::refresh::nanos_of;

/// The vblanks of a head, numbered by frame, as points of time.
///
/// Frame 0 is the start; the vblank of frame `n` is at `start + floor(n * 1e9 / rate)`
/// nanoseconds. Each is computed from the start, so rounding never adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    refresh: Refresh,
    start: MonotonicTime,
    /// The frame that was current at `start`.
    first: u64,
}

impl Cadence {
    /// Frame 0 at `start`.
    #[must_use]
    pub const fn new(refresh: Refresh, start: MonotonicTime) -> Self {
        Self {
            refresh,
            start,
            first: 0,
        }
    }

    /// The same head at another rate from `now` on, as after a mode set: the frame counter goes
    /// on, the first vblank is one new period away.
    #[must_use]
    pub fn changed_to(self, refresh: Refresh, now: MonotonicTime) -> Self {
        // `now` behind the start (a clock of the embedder's that steps back) must not take
        // the frame counter back.
        let start = now.max(self.start);
        Self {
            refresh,
            start,
            first: self.frame_at(start),
        }
    }

    /// One that was saved: at `now` it is `since_vblank` nanoseconds after the vblank of `frame`, or
    /// as long as there is until the next one. A clock that has not run that long begins with it.
    #[must_use]
    pub(crate) fn resumed(
        refresh: Refresh,
        frame: u64,
        now: MonotonicTime,
        since_vblank: u64,
    ) -> Self {
        let last = nanos_of(refresh, 1).saturating_sub(1);
        let start = now.as_nanos().saturating_sub(since_vblank.min(last));
        Self {
            refresh,
            start: MonotonicTime::from_nanos(start),
            first: frame,
        }
    }

    /// The rate.
    #[must_use]
    pub const fn refresh(&self) -> Refresh {
        self.refresh
    }

    /// When the rate came into force.
    #[must_use]
    pub const fn start(&self) -> MonotonicTime {
        self.start
    }

    /// When the vblank of `frame` happens. For a frame from before [`start`](Self::start): that.
    #[must_use]
    pub fn deadline(&self, frame: u64) -> MonotonicTime {
        let elapsed = nanos_of(self.refresh, frame.saturating_sub(self.first));
        MonotonicTime::from_nanos(self.start.as_nanos().saturating_add(elapsed))
    }

    /// The last frame whose deadline is not after `time`: the frame counter at that time.
    #[must_use]
    pub fn frame_at(&self, time: MonotonicTime) -> u64 {
        let elapsed = time.as_nanos().saturating_sub(self.start.as_nanos());
        self.first.saturating_add(frames_in(self.refresh, elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A start that is no multiple of any period.
    const START: MonotonicTime = MonotonicTime::from_nanos(1_234_567_891);

    fn refreshes() -> impl Strategy<Value = Refresh> {
        // Denominators up to 2^22 keep every rate of the range within a 32-bit numerator.
        (1..=1u32 << 22, 1_000..=1_000_000u32).prop_map(|(denominator, millihertz)| {
            let numerator = u64::from(denominator) * u64::from(millihertz) / 1000;
            Refresh::new(u32::try_from(numerator).unwrap(), denominator).unwrap()
        })
    }

    proptest! {
        #[test]
        fn deadlines_rise_strictly(refresh in refreshes(), frame in 0..1u64 << 32) {
            let cadence = Cadence::new(refresh, START);
            prop_assert!(cadence.deadline(frame) < cadence.deadline(frame + 1));
        }

        #[test]
        fn deadline_is_less_than_a_nanosecond_before_the_exact_time(
            refresh in refreshes(),
            frame in 0..1u64 << 32,
        ) {
            let cadence = Cadence::new(refresh, START);
            let elapsed = cadence.deadline(frame).as_nanos() - START.as_nanos();
            // Both sides times the numerator: elapsed <= frame * den * 1e9 / num < elapsed + 1.
            let exact = u128::from(frame) * u128::from(refresh.denominator()) * 1_000_000_000;
            let numerator = u128::from(refresh.numerator());
            prop_assert!(u128::from(elapsed) * numerator <= exact);
            prop_assert!(exact < (u128::from(elapsed) + 1) * numerator);
        }

        #[test]
        fn frame_at_inverts_deadline(refresh in refreshes(), frame in 1..1u64 << 32) {
            let cadence = Cadence::new(refresh, START);
            let at = cadence.deadline(frame).as_nanos();
            prop_assert_eq!(cadence.frame_at(MonotonicTime::from_nanos(at)), frame);
            prop_assert_eq!(cadence.frame_at(MonotonicTime::from_nanos(at - 1)), frame - 1);
        }

        #[test]
        fn frame_counter_goes_on_over_a_change_of_rate(
            before in refreshes(),
            after in refreshes(),
            elapsed in 0..1u64 << 50,
        ) {
            let cadence = Cadence::new(before, START);
            let now = MonotonicTime::from_nanos(START.as_nanos() + elapsed);
            let changed = cadence.changed_to(after, now);
            let frame = cadence.frame_at(now);
            prop_assert_eq!(changed.frame_at(now), frame);
            prop_assert_eq!(
                changed.deadline(frame + 1),
                MonotonicTime::from_nanos(now.as_nanos() + nanos_of(after, 1))
            );
        }
    }

    #[test]
    fn deadline_after_a_billion_frames_has_not_drifted() {
        let ntsc = Cadence::new(Refresh::new(60_000, 1001).unwrap(), START);
        // 1e9 * 1001 / 60000 s = 16_683_333.333_333_333_3.. s, rounded down to the nanosecond.
        let elapsed = ntsc.deadline(1_000_000_000).as_nanos() - START.as_nanos();
        assert_eq!(elapsed, 16_683_333_333_333_333);
    }

    #[test]
    fn deadline_is_exact_once_a_second_at_60_hz() {
        let cadence = Cadence::new(Refresh::HZ_60, START);
        // A year of seconds.
        for second in [1, 2, 3600, 31_536_000] {
            let deadline = cadence.deadline(second * 60);
            assert_eq!(
                deadline.as_nanos(),
                START.as_nanos() + second * 1_000_000_000
            );
        }
    }

    #[test]
    fn frame_at_before_the_start_is_zero() {
        let cadence = Cadence::new(Refresh::HZ_60, START);
        assert_eq!(cadence.frame_at(MonotonicTime::ORIGIN), 0);
    }

    #[test]
    fn deadline_beyond_the_clock_saturates() {
        let cadence = Cadence::new(Refresh::HZ_60, START);
        assert_eq!(cadence.deadline(u64::MAX), MonotonicTime::MAX);
    }
}
