//! When connections are let in again after there were no fds for one.

use std::time::Duration;
use std::time::Instant;

/// When to look again whether files that are being closed have left their fds; each further time
/// after twice as long, up to the last.
const FIRST_TRY: Duration = Duration::from_millis(10);
const LAST_TRY: Duration = Duration::from_secs(1);

/// Whether the listener is out of the set, and until when.
#[derive(Debug, Default)]
pub(super) struct Deaf {
    /// Fds that were taken when there were no more.
    since: Option<usize>,
    /// When to look again, where files were being closed then.
    next_try: Option<Instant>,
    /// How long the last look was put off; `None` once somebody was let in.
    pause: Option<Duration>,
}

impl Deaf {
    /// There were no fds with so many taken, and files being closed or not. Returns whether that is
    /// news.
    pub(super) fn begin(&mut self, taken: usize, is_closing: bool, now: Instant) -> bool {
        let is_news = self.pause.is_none();
        let pause = self.pause.map_or(FIRST_TRY, |last| LAST_TRY.min(2 * last));
        self.pause = Some(pause);
        self.since = Some(taken);
        self.next_try = is_closing.then(|| now + pause);
        is_news
    }

    /// The listener is in the set again.
    pub(super) fn end(&mut self) {
        self.since = None;
        self.next_try = None;
    }

    /// Somebody was let in.
    pub(super) fn forget(&mut self) {
        self.pause = None;
    }

    /// Whether the listener is to be in the set again: fds have been given back, or a look is due.
    pub(super) fn is_over(&self, taken: usize, now: Instant) -> bool {
        self.since.is_some_and(|then| taken < then) || self.next_try.is_some_and(|at| now >= at)
    }

    /// How long to wait at most before that is asked again.
    pub(super) fn patience(&self, taken: usize, now: Instant) -> Option<Duration> {
        if self.is_over(taken, now) {
            // It could not be put back.
            return Some(FIRST_TRY);
        }
        Some(self.next_try?.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some number of fds.
    const TAKEN: usize = 7;

    #[test]
    fn deaf_while_files_are_closed_looks_again_ever_later_and_is_news_once() {
        let (mut deaf, mut now) = (Deaf::default(), Instant::now());
        assert!(!deaf.is_over(TAKEN, now) && deaf.patience(TAKEN, now).is_none());
        let mut pauses = Vec::new();
        for round in 0..10 {
            assert_eq!(deaf.begin(TAKEN, true, now), round == 0);
            let pause = deaf.patience(TAKEN, now).unwrap();
            assert!(!deaf.is_over(TAKEN, now));
            now += pause;
            assert!(deaf.is_over(TAKEN, now));
            deaf.end();
            pauses.push(pause);
        }
        assert_eq!(pauses[..2], [FIRST_TRY, 2 * FIRST_TRY]);
        assert_eq!(pauses[9], LAST_TRY);
        deaf.forget();
        assert!(deaf.begin(TAKEN, true, now));
        assert_eq!(deaf.patience(TAKEN, now), Some(FIRST_TRY));
    }

    #[test]
    fn deaf_is_over_at_once_when_fds_are_given_back_and_not_before() {
        let (mut deaf, now) = (Deaf::default(), Instant::now());
        deaf.begin(TAKEN, false, now);
        assert!(!deaf.is_over(TAKEN, now + LAST_TRY) && deaf.patience(TAKEN, now).is_none());
        assert!(deaf.is_over(TAKEN - 1, now));
        deaf.end();
        assert!(!deaf.is_over(TAKEN - 1, now));
    }
}
