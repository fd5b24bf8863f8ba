//! A head that goes on where another one was.

use crate::cadence::Cadence;
use crate::refresh::Refresh;
use crate::scheduler::Shared;
use crate::timeline::TrackId;

impl Shared {
    /// Has the track's time go on at `frame`, so many nanoseconds after its vblank.
    pub(crate) fn resume(&self, id: TrackId, refresh: Refresh, frame: u64, since_vblank: u64) {
        let mut state = self.lock();
        let now = self.now();
        let cadence = Cadence::resumed(refresh, frame, now, since_vblank);
        state.timeline.resume(id, cadence, frame);
        let waker = state.oversleeper();
        drop(state);
        super::wake(waker);
    }
}
