//! The one scheduler that signals the vblanks of all heads in a process.
//!
//! ```text
//!  consumer bound, unmasked ──► LocalProducer ──► Demand ──► timeline: arm ──► timer or waker, if earlier
//!  VblankThread or embedder ──► next_wakeup ─ sleep ─► run_due ──► observer ──► LocalProducer
//!  device: flip, cursor, ... ──► alarm for one vblank ────────────► run_due ──► FrameAlarm
//! ```
//!
//! **Lock order**: round, then a producer's gate (inside `LocalProducer`), then state. A round
//! collects what is due under `state`, lets go of it and only then signals, because
//! a producer's gate is held while its demand hook takes `state`. Alarms come after all vblanks of
//! the round, so that no head's vblank waits for a device to look at its picture. The timer that a
//! `VblankThread` sleeps on is set under `state` and at no other time.

mod resume;
mod sleeper;

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::Weak;
use std::task::Waker;

use irqbroker_core::LocalProducer;
use irqbroker_core::Since;

use crate::alarm::FrameAlarm;
use crate::cadence::Cadence;
use crate::clock::Clock;
use crate::clock::MonotonicTime;
use crate::counters::VblankCounters;
use crate::granularity::Granularity;
use crate::head::HeadId;
use crate::instance::InstanceId;
use crate::observer::ObserveError;
use crate::observer::Vblank;
use crate::observer::VblankObserver;
use crate::refresh::Refresh;
pub(crate) use crate::scheduler::sleeper::Rouse;
use crate::scheduler::sleeper::Sleeper;
use crate::timeline::Due;
use crate::timeline::Slot;
use crate::timeline::Timeline;
use crate::timeline::TrackId;

/// Signals the vblanks of all heads that somebody listens to. Cloning shares it.
///
/// It does nothing by itself: [`spawn`](Self::spawn) asks for a thread, [`drive`](Self::drive)
/// hands the work to a loop of the embedder's.
#[derive(Clone)]
pub struct VblankScheduler {
    shared: Arc<Shared>,
}

/// The right to drive a [`VblankScheduler`], of which there is one at a time.
///
/// Loop: ask [`next_wakeup`](Self::next_wakeup), sleep until then or until the waker given to
/// [`VblankScheduler::drive`] is woken, call [`run_due`](Self::run_due). Dropping it gives the
/// right back; vblanks of the time without a driver are missed, the newest is made up for.
#[derive(Debug)]
pub struct VblankDriver {
    shared: Arc<Shared>,
}

/// Why the scheduler cannot be driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DriveError {
    /// A thread or a loop drives it.
    #[error("the vblank scheduler is driven already")]
    AlreadyDriven,
}

/// Who is signalled for a track.
#[derive(Clone)]
struct Target {
    instance: InstanceId,
    head: HeadId,
    producer: Arc<LocalProducer>,
    alarm: Option<Weak<dyn FrameAlarm>>,
}

pub(crate) struct Shared {
    /// `None`: `CLOCK_MONOTONIC`.
    clock: Option<Arc<dyn Clock>>,
    observer: OnceLock<Arc<dyn VblankObserver>>,
    /// What one round signals; empty between rounds. First in the lock order, held for a whole
    /// round, so that taking it waits for the vblanks under way.
    round: Mutex<Vec<Due<Target>>>,
    /// Last in the lock order: taken under a producer's gate, nothing is taken under it.
    state: Mutex<State>,
}

struct State {
    timeline: Timeline<Target>,
    next_track: u64,
    driver: Option<Sleeper>,
    counters: VblankCounters,
}

impl State {
    /// Sees to it that the driver does not oversleep what is due first now. Returns the waker to use
    /// for that, outside the lock, if it has one.
    fn oversleeper(&mut self) -> Option<Waker> {
        let wakeup = self.timeline.next_wakeup()?;
        self.driver.as_mut()?.has_to_wake(wakeup)
    }
}

impl VblankScheduler {
    /// A scheduler on `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn new(granularity: Granularity) -> Self {
        Self::build(granularity, None)
    }

    /// A scheduler on a clock of the embedder's, who then has to [`drive`](Self::drive) it.
    #[must_use]
    pub fn with_clock(granularity: Granularity, clock: Arc<dyn Clock>) -> Self {
        Self::build(granularity, Some(clock))
    }

    fn build(granularity: Granularity, clock: Option<Arc<dyn Clock>>) -> Self {
        let state = State {
            timeline: Timeline::new(granularity),
            next_track: 0,
            driver: None,
            counters: VblankCounters::default(),
        };
        Self {
            shared: Arc::new(Shared {
                clock,
                observer: OnceLock::new(),
                round: Mutex::default(),
                state: Mutex::new(state),
            }),
        }
    }

    /// Has `observer` told of each vblank from the next one on.
    ///
    /// # Errors
    ///
    /// See [`ObserveError`].
    pub fn observe(&self, observer: Arc<dyn VblankObserver>) -> Result<(), ObserveError> {
        let set = self.shared.observer.set(observer);
        set.map_err(|_| ObserveError::AlreadyObserved)
    }

    /// Takes over the driving. `waker` is woken whenever the next wake-up has become earlier than
    /// the one [`VblankDriver::next_wakeup`] told; it is called with a producer's lock held, so
    /// it must do no more than wake somebody up.
    ///
    /// # Errors
    ///
    /// See [`DriveError`].
    pub fn drive(&self, waker: Waker) -> Result<VblankDriver, DriveError> {
        self.drive_by(Rouse::Waker(waker))
    }

    pub(crate) fn drive_by(&self, rouse: Rouse) -> Result<VblankDriver, DriveError> {
        let mut state = self.shared.lock();
        if state.driver.is_some() {
            return Err(DriveError::AlreadyDriven);
        }
        state.driver = Some(Sleeper::new(rouse));
        drop(state);
        Ok(VblankDriver {
            shared: self.shared.clone(),
        })
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> VblankCounters {
        self.shared.lock().counters
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl VblankDriver {
    /// When to call [`run_due`](Self::run_due) next; `None` while nobody listens to any head.
    /// From now on the waker is woken if that becomes earlier.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<MonotonicTime> {
        let mut state = self.shared.lock();
        let wakeup = state.timeline.next_wakeup();
        if let Some(sleeper) = &mut state.driver {
            sleeper.sleeps(wakeup);
        }
        wakeup
    }

    /// Signals each head whose vblank is due at `now`, once each. Returns how many those were.
    pub fn run_due(&mut self, now: MonotonicTime) -> usize {
        self.shared.run_due(now)
    }
}

impl Drop for VblankDriver {
    fn drop(&mut self) {
        self.shared.lock().driver = None;
    }
}

impl Shared {
    pub(crate) fn now(&self) -> MonotonicTime {
        match &self.clock {
            None => MonotonicTime::now(),
            Some(clock) => clock.now(),
        }
    }

    pub(crate) fn has_own_clock(&self) -> bool {
        self.clock.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of the embedder's runs under this lock but the clock, and that between updates.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_round(&self) -> MutexGuard<'_, Vec<Due<Target>>> {
        // An observer that panics ends its round; what was not signalled yet is dropped with it.
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_due(&self, now: MonotonicTime) -> usize {
        let mut round = self.lock_round();
        let mut state = self.lock();
        if let Some(sleeper) = &mut state.driver {
            sleeper.wakes();
        }
        state.timeline.take_due(now, &mut round);
        state.counters.wakeups += 1;
        let is_vblank = |due: &&Due<Target>| due.slot == Slot::Vblank;
        let mut signalled = 0;
        for due in round.iter().filter(is_vblank) {
            signalled += 1;
            state.counters.ticks += 1;
            state.counters.missed += due.missed;
            state.counters.max_lateness = state.counters.max_lateness.max(due.lateness);
        }
        state.counters.alarms += (round.len() - signalled) as u64;
        drop(state);
        let observer = self.observer.get();
        for due in round.iter().filter(is_vblank) {
            if let Some(observer) = observer {
                observer.vblank(&Vblank {
                    instance: due.target.instance,
                    head: due.target.head,
                    frame: due.frame,
                    deadline: due.deadline,
                });
            }
            due.target.producer.signal();
        }
        for due in round.drain(..).filter(|due| due.slot == Slot::Alarm) {
            if let Some(alarm) = due.target.alarm.and_then(|alarm| alarm.upgrade()) {
                alarm.due(due.frame);
            }
        }
        signalled
    }

    /// Ends the driver's sleep, if there is one and it sleeps: it asks anew.
    pub(crate) fn rouse(&self) {
        let mut state = self.lock();
        let driver = state.driver.as_mut();
        let waker = driver.and_then(|sleeper| sleeper.has_to_wake(MonotonicTime::ORIGIN));
        drop(state);
        wake(waker);
    }

    /// A track id nobody has.
    pub(crate) fn new_track(&self) -> TrackId {
        let mut state = self.lock();
        state.next_track += 1;
        TrackId(state.next_track)
    }

    pub(crate) fn insert(
        &self,
        id: TrackId,
        cadence: Cadence,
        instance: InstanceId,
        head: HeadId,
        producer: Arc<LocalProducer>,
    ) {
        let target = Target {
            instance,
            head,
            producer,
            alarm: None,
        };
        self.lock().timeline.insert(id, cadence, target);
    }

    /// Forgets the track; a vblank under way may still be signalled.
    pub(crate) fn remove(&self, id: TrackId) {
        let mut state = self.lock();
        let target = state.timeline.remove(id);
        drop(state);
        // Perhaps the last owner of the producer, whose eventfd is closed here then.
        drop(target);
    }

    pub(crate) fn arm(&self, id: TrackId, since: Since) -> bool {
        let mut state = self.lock();
        let now = self.now();
        let pending = state.timeline.arm(id, since, now);
        let waker = state.oversleeper();
        drop(state);
        wake(waker);
        pending
    }

    pub(crate) fn disarm(&self, id: TrackId) {
        self.lock().timeline.disarm(id);
    }

    /// Has `alarm` called for the track's alarms.
    pub(crate) fn on_alarm(&self, id: TrackId, alarm: Weak<dyn FrameAlarm>) {
        if let Some(target) = self.lock().timeline.target_mut(id) {
            target.alarm = Some(alarm);
        }
    }

    /// Sets the track's alarm to the vblank of `frame`, or to none.
    pub(crate) fn set_alarm(&self, id: TrackId, frame: Option<u64>) {
        let mut state = self.lock();
        state.timeline.set_alarm(id, frame);
        let waker = state.oversleeper();
        drop(state);
        wake(waker);
    }

    /// Disarms the tracks for good. No vblank or alarm of theirs comes after return.
    pub(crate) fn retire(&self, ids: impl Iterator<Item = TrackId>) {
        let mut state = self.lock();
        for id in ids {
            state.timeline.retire(id);
        }
        drop(state);
        // Waits for a round that had collected them before.
        drop(self.lock_round());
    }

    pub(crate) fn set_refresh(&self, id: TrackId, refresh: Refresh) {
        let mut state = self.lock();
        let now = self.now();
        state.timeline.set_refresh(id, refresh, now);
        let waker = state.oversleeper();
        drop(state);
        wake(waker);
    }

    pub(crate) fn cadence(&self, id: TrackId) -> Option<Cadence> {
        self.lock().timeline.cadence(id)
    }

    pub(crate) fn missed(&self, id: TrackId) -> u64 {
        self.lock().timeline.missed(id).unwrap_or(0)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl fmt::Debug for VblankScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VblankScheduler")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
