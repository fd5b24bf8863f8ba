//! Wishes for another size that wait to be carried out.
//!
//! A window whose corner is dragged asks for many sizes. The first wish is carried out at once; of those
//! that come until the pause after it is over the last one of each viewer counts.

use std::time::Duration;
use std::time::Instant;

/// Width and height, pixels.
pub(super) type Size = (u16, u16);

/// The wishes of all viewers.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// One for each viewer, in the order in which they came.
    waiting: Vec<(u64, Size)>,
    /// Until when none is carried out.
    pause: Option<Instant>,
}

impl Wishes {
    /// A viewer has this wish, and none of those before any more.
    pub(super) fn add(&mut self, viewer: u64, size: Size) {
        self.forget(viewer);
        self.waiting.push((viewer, size));
    }

    /// A viewer is gone.
    pub(super) fn forget(&mut self, viewer: u64) {
        self.waiting.retain(|&(known, _)| known != viewer);
    }

    /// When something is to be carried out, if there is anything.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let due = self.pause.unwrap_or(now);
        (!self.waiting.is_empty()).then_some(due)
    }

    /// Those that are to be carried out now; of later ones none will be before the pause is over.
    pub(super) fn take(&mut self, now: Instant, pause: Duration) -> Vec<(u64, Size)> {
        if self.due(now).is_none_or(|due| due > now) {
            return Vec::new();
        }
        // A pause beyond what the clock can tell has no end that anybody sees.
        self.pause = Some(now.checked_add(pause).unwrap_or(now));
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
impl Wishes {
    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether somebody waits for this size.
    pub(super) fn has(&self, size: Size) -> bool {
        self.waiting.iter().any(|&(_, wanted)| wanted == size)
    }

    /// Has the pause be over.
    pub(super) fn end_pause(&mut self) {
        self.pause = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any.
    const PAUSE: Duration = Duration::from_millis(100);

    #[test]
    fn first_wish_is_due_at_once_and_the_last_of_those_that_follow_after_the_pause() {
        let start = Instant::now();
        let mut wishes = Wishes::default();
        assert_eq!(wishes.due(start), None);
        wishes.add(1, (800, 600));
        assert_eq!(wishes.take(start, PAUSE), [(1, (800, 600))]);
        assert_eq!(wishes.due(start), None);
        wishes.add(1, (801, 600));
        wishes.add(2, (640, 480));
        wishes.add(1, (802, 600));
        let later = start + PAUSE / 2;
        assert_eq!(wishes.due(later), Some(start + PAUSE));
        assert_eq!(wishes.take(later, PAUSE), []);
        let due = wishes.take(start + PAUSE, PAUSE);
        assert_eq!(due, [(2, (640, 480)), (1, (802, 600))]);
    }

    #[test]
    fn wish_of_a_viewer_that_has_left_is_not_carried_out() {
        let mut wishes = Wishes::default();
        wishes.add(1, (800, 600));
        wishes.forget(1);
        assert_eq!(wishes.take(Instant::now(), PAUSE), []);
    }

    proptest! {
        /// Against lists of all that came: each step is a viewer's wish or 30 ms.
        #[test]
        fn no_more_is_carried_out_than_once_a_pause_and_the_last_wish_always(
            steps in proptest::collection::vec(prop::option::of((0..3u64, 64..70u16)), 0..60),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut wishes = Wishes::default();
            let (mut last, mut carried_out) = (None, Vec::new());
            for step in steps.into_iter().chain([None; 4]) {
                match step {
                    Some((viewer, side)) => {
                        wishes.add(viewer, (side, side));
                        last = Some((viewer, (side, side)));
                    }
                    None => now += Duration::from_millis(30),
                }
                let taken = wishes.take(now, PAUSE);
                prop_assert!(taken.len() <= 3);
                if let Some(&latest) = taken.last() {
                    carried_out.push((now, latest));
                }
            }
            prop_assert_eq!(carried_out.last().map(|&(_, latest)| latest), last);
            for pair in carried_out.windows(2) {
                prop_assert!(pair[1].0 - pair[0].0 >= PAUSE);
            }
        }
    }
}
