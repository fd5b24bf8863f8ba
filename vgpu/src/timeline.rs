//! Which heads are due, and when the next one is: the scheduler without clock, lock or thread.
//!
//! Each head is a track with a cadence and the next frame it has not been told of. Armed, it
//! stands in the queue at that frame's deadline; idle, nothing moves: what happened meanwhile
//! is computed from the cadence when it is armed again. Beside that a track may have an alarm, for
//! the vblank of one frame, once.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::time::Duration;

use irqbroker_core::Since;

use crate::cadence::Cadence;
use crate::clock::MonotonicTime;
use crate::granularity::Granularity;
use crate::refresh::Refresh;

/// A head's place in a [`Timeline`]; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TrackId(pub(crate) u64);

/// What a track stands in the queue for. Vblanks go before alarms of the same deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// Each vblank, while armed.
    Vblank,
    /// One vblank.
    Alarm,
}

/// A head that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due<T> {
    pub(crate) target: T,
    pub(crate) slot: Slot,
    /// The newest frame.
    pub(crate) frame: u64,
    /// Its deadline.
    pub(crate) deadline: MonotonicTime,
    /// Frames before it that were not signalled in time.
    pub(crate) missed: u64,
    /// Time since the deadline of the oldest of them all.
    pub(crate) lateness: Duration,
}

/// Whether a track's vblanks are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not now.
    Idle,
    /// Yes: queued at the deadline given.
    Armed(MonotonicTime),
    /// Never again.
    Retired,
}

#[derive(Debug)]
struct Track<T> {
    target: T,
    cadence: Cadence,
    /// The first frame that was neither signalled nor reported pending. Never goes back.
    next: u64,
    phase: Phase,
    /// The frame of the alarm, and the deadline it is queued at.
    alarm: Option<(u64, MonotonicTime)>,
    missed: u64,
}

impl<T> Track<T> {
    /// Moves past all frames up to `now`; returns how many those were.
    fn pass(&mut self, now: MonotonicTime) -> u64 {
        if self.cadence.deadline(self.next) > now {
            return 0;
        }
        // Usually it is one frame, which is cheaper to try than to divide for.
        let next = if self.cadence.deadline(self.next + 1) > now {
            self.next + 1
        } else {
            self.next.max(self.cadence.frame_at(now) + 1)
        };
        next - std::mem::replace(&mut self.next, next)
    }
}

/// The tracks and the queue of the armed ones. `T` is what the owner needs to signal a head.
#[derive(Debug)]
pub(crate) struct Timeline<T> {
    granularity: Granularity,
    tracks: HashMap<TrackId, Track<T>>,
    /// One entry for each armed track and one for each alarm, none for any other: bounded, and
    /// never a wake-up for a head that was disarmed.
    queue: BTreeSet<(MonotonicTime, TrackId, Slot)>,
}

impl<T: Clone> Timeline<T> {
    pub(crate) fn new(granularity: Granularity) -> Self {
        Self {
            granularity,
            tracks: HashMap::new(),
            queue: BTreeSet::new(),
        }
    }

    /// Adds an idle track; its first vblank is that of frame 1.
    pub(crate) fn insert(&mut self, id: TrackId, cadence: Cadence, target: T) {
        let track = Track {
            target,
            cadence,
            next: 1,
            phase: Phase::Idle,
            alarm: None,
            missed: 0,
        };
        self.tracks.insert(id, track);
    }

    /// What is signalled for the track, to be changed.
    pub(crate) fn target_mut(&mut self, id: TrackId) -> Option<&mut T> {
        Some(&mut self.tracks.get_mut(&id)?.target)
    }

    /// Forgets the track; hands its target back, to be dropped outside the owner's lock.
    pub(crate) fn remove(&mut self, id: TrackId) -> Option<T> {
        self.disarm(id);
        self.set_alarm(id, None);
        Some(self.tracks.remove(&id)?.target)
    }

    /// Queues the track at its next deadline. Returns whether a vblank since it was disarmed is
    /// pending, which counts as told.
    pub(crate) fn arm(&mut self, id: TrackId, since: Since, now: MonotonicTime) -> bool {
        let Some(track) = self.tracks.get_mut(&id) else {
            return false;
        };
        if track.phase != Phase::Idle {
            return false;
        }
        let passed = track.pass(now);
        let deadline = track.cadence.deadline(track.next);
        track.phase = Phase::Armed(deadline);
        self.queue.insert((deadline, id, Slot::Vblank));
        match since {
            Since::Bound => false,
            Since::Held => passed > 0,
        }
    }

    pub(crate) fn disarm(&mut self, id: TrackId) {
        if let Some(track) = self.tracks.get_mut(&id)
            && let Phase::Armed(deadline) = track.phase
        {
            track.phase = Phase::Idle;
            self.queue.remove(&(deadline, id, Slot::Vblank));
        }
    }

    /// Sets the alarm to the vblank of `frame`, which is due at once if it is over; or to none.
    pub(crate) fn set_alarm(&mut self, id: TrackId, frame: Option<u64>) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        if let Some((_, queued)) = track.alarm.take() {
            self.queue.remove(&(queued, id, Slot::Alarm));
        }
        if let Some(frame) = frame
            && track.phase != Phase::Retired
        {
            let deadline = track.cadence.deadline(frame);
            track.alarm = Some((frame, deadline));
            self.queue.insert((deadline, id, Slot::Alarm));
        }
    }

    /// Disarms the track for good; its cadence and counter can still be read.
    pub(crate) fn retire(&mut self, id: TrackId) {
        self.disarm(id);
        self.set_alarm(id, None);
        if let Some(track) = self.tracks.get_mut(&id) {
            track.phase = Phase::Retired;
        }
    }

    /// Changes the rate from `now` on; setting the same rate changes nothing. A vblank that has
    /// happened and was not told yet stays due.
    pub(crate) fn set_refresh(&mut self, id: TrackId, refresh: Refresh, now: MonotonicTime) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        if track.cadence.refresh() == refresh {
            return;
        }
        track.cadence = track.cadence.changed_to(refresh, now);
        if let Phase::Armed(queued) = track.phase {
            let deadline = track.cadence.deadline(track.next);
            track.phase = Phase::Armed(deadline);
            self.queue.remove(&(queued, id, Slot::Vblank));
            self.queue.insert((deadline, id, Slot::Vblank));
        }
        if let Some((frame, _)) = track.alarm {
            self.set_alarm(id, Some(frame));
        }
    }

    /// Goes on with another cadence at `frame`, which was told. For a head that is someone else's from
    /// now on: what was due before is not told.
    pub(crate) fn resume(&mut self, id: TrackId, cadence: Cadence, frame: u64) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        track.cadence = cadence;
        track.next = frame.saturating_add(1);
        if let Phase::Armed(queued) = track.phase {
            let deadline = track.cadence.deadline(track.next);
            track.phase = Phase::Armed(deadline);
            self.queue.remove(&(queued, id, Slot::Vblank));
            self.queue.insert((deadline, id, Slot::Vblank));
        }
        self.set_alarm(id, None);
    }

    /// Appends the heads that are due at `now` and moves each to its next deadline after `now`.
    pub(crate) fn take_due(&mut self, now: MonotonicTime, due: &mut Vec<Due<T>>) {
        while let Some(&(oldest, id, slot)) = self.queue.first() {
            // The end of the clock stands for never.
            if oldest > now || oldest == MonotonicTime::MAX {
                break;
            }
            self.queue.pop_first();
            let Some(track) = self.tracks.get_mut(&id) else {
                continue;
            };
            if slot == Slot::Alarm {
                let alarm = track.alarm.take().map_or(0, |(frame, _)| frame);
                let frame = track.cadence.frame_at(now).max(alarm);
                due.push(Due {
                    target: track.target.clone(),
                    slot,
                    frame,
                    deadline: track.cadence.deadline(frame),
                    missed: 0,
                    lateness: now.saturating_since(oldest),
                });
                continue;
            }
            let missed = track.pass(now).saturating_sub(1);
            track.missed += missed;
            let frame = track.next - 1;
            due.push(Due {
                target: track.target.clone(),
                slot,
                frame,
                deadline: track.cadence.deadline(frame),
                missed,
                lateness: now.saturating_since(oldest),
            });
            let deadline = track.cadence.deadline(track.next);
            track.phase = Phase::Armed(deadline);
            self.queue.insert((deadline, id, Slot::Vblank));
        }
    }

    /// When [`take_due`](Self::take_due) has something to do next; `None` while none is armed.
    pub(crate) fn next_wakeup(&self) -> Option<MonotonicTime> {
        let (deadline, _, _) = self.queue.first()?;
        Some(self.granularity.wakeup(*deadline))
    }

    pub(crate) fn cadence(&self, id: TrackId) -> Option<Cadence> {
        Some(self.tracks.get(&id)?.cadence)
    }

    pub(crate) fn missed(&self, id: TrackId) -> Option<u64> {
        Some(self.tracks.get(&id)?.missed)
    }
}

#[cfg(test)]
mod tests;
