//! A head of a vGPU: one picture, one vblank producer.

use std::fmt;
use std::sync::Arc;
use std::sync::Weak;

use irqbroker_core::Demand;
use irqbroker_core::LocalError;
use irqbroker_core::LocalProducer;
use irqbroker_core::Since;

use crate::alarm::FrameAlarm;
use crate::cadence::Cadence;
use crate::instance::InstanceId;
use crate::refresh::Refresh;
use crate::scheduler::Shared;
use crate::timeline::TrackId;

/// A head's number within its instance, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeadId(pub u8);

impl fmt::Display for HeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A head of a [`VgpuInstance`](crate::VgpuInstance).
///
/// Its frame counter advances with time; its vblanks are signalled only while a consumer is bound
/// to the producer and neither masked nor stopped. Of the vblanks that happen behind a mask one
/// is pending at unmask, as with any edge interrupt. One under way while its consumer is deleted
/// is dropped.
#[derive(Debug)]
pub struct Head {
    id: HeadId,
    /// What it began with. Stands in where its track cannot be found, which lives as long.
    initial: Cadence,
    track: Arc<HeadTrack>,
    producer: Arc<LocalProducer>,
}

impl Head {
    pub(crate) fn new(
        instance: InstanceId,
        instance_name: &str,
        id: HeadId,
        refresh: Refresh,
        shared: &Arc<Shared>,
    ) -> Result<Self, LocalError> {
        let initial = Cadence::new(refresh, shared.now());
        let track = Arc::new(HeadTrack {
            shared: shared.clone(),
            id: shared.new_track(),
        });
        let demand: Arc<dyn Demand> = track.clone();
        let producer = LocalProducer::with_demand(
            format!("{instance_name}.head{id}.vblank"),
            Arc::downgrade(&demand),
        )?;
        shared.insert(track.id, initial, instance, id, producer.clone());
        Ok(Self {
            id,
            initial,
            track,
            producer,
        })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> HeadId {
        self.id
    }

    /// The vblank producer, for a registry or for reading its eventfd directly.
    #[must_use]
    pub fn producer(&self) -> Arc<LocalProducer> {
        self.producer.clone()
    }

    /// When its vblanks happen.
    #[must_use]
    pub fn cadence(&self) -> Cadence {
        let track = self.track.shared.cadence(self.track.id);
        track.unwrap_or(self.initial)
    }

    /// The refresh rate.
    #[must_use]
    pub fn refresh(&self) -> Refresh {
        self.cadence().refresh()
    }

    /// Changes the refresh rate, as a mode set does: the next vblank is one new period away, the
    /// frame counter goes on. A vblank not signalled yet stays due. The same rate again changes
    /// nothing, so that a guest cannot put its vblanks off for ever.
    pub fn set_refresh(&self, refresh: Refresh) {
        self.track.shared.set_refresh(self.track.id, refresh);
    }

    /// The frame counter: vblanks since the head was created, whether or not anybody listened.
    #[must_use]
    pub fn frame(&self) -> u64 {
        self.cadence().frame_at(self.track.shared.now())
    }

    /// Vblanks that reached the eventfd.
    #[must_use]
    pub fn signalled(&self) -> u64 {
        self.producer.signalled()
    }

    /// Vblanks that were wanted but over before the scheduler ran: each run of them was signalled
    /// as one, with the vblank after it.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.track.shared.missed(self.track.id)
    }

    /// The frame counter, and how many frames make half a second, at least 1.
    pub(crate) fn frame_and_half_second(&self) -> (u64, u64) {
        let cadence = self.cadence();
        let refresh = cadence.refresh();
        let half = refresh
            .numerator()
            .div_ceil(refresh.denominator().saturating_mul(2));
        (
            cadence.frame_at(self.track.shared.now()),
            u64::from(half.max(1)),
        )
    }

    /// The frame counter, and nanoseconds since its vblank.
    pub(crate) fn frame_and_phase(&self) -> (u64, u64) {
        let (cadence, now) = (self.cadence(), self.track.shared.now());
        let frame = cadence.frame_at(now);
        let since = now.saturating_since(cadence.deadline(frame));
        // Below a period, which is a second at most.
        (frame, u64::try_from(since.as_nanos()).unwrap_or(0))
    }

    /// Goes on as another head did, at `frame` and so long after its vblank.
    pub(crate) fn resume(&self, refresh: Refresh, frame: u64, since_vblank: u64) {
        let shared = &self.track.shared;
        shared.resume(self.track.id, refresh, frame, since_vblank);
    }

    /// Whether its time is the embedder's to tell, not the host's.
    pub(crate) fn has_own_clock(&self) -> bool {
        self.track.shared.has_own_clock()
    }

    /// Has `alarm` called at the vblanks asked for with [`set_alarm`](Self::set_alarm).
    pub(crate) fn on_alarm(&self, alarm: Weak<dyn FrameAlarm>) {
        self.track.shared.on_alarm(self.track.id, alarm);
    }

    /// Asks for one call at the vblank of `frame`, in place of what was asked for before.
    pub(crate) fn set_alarm(&self, frame: Option<u64>) {
        self.track.shared.set_alarm(self.track.id, frame);
    }

    pub(crate) fn track(&self) -> TrackId {
        self.track.id
    }
}

/// A head's place in the scheduler, given back on drop; what its producer tells of demand.
#[derive(Debug)]
struct HeadTrack {
    shared: Arc<Shared>,
    id: TrackId,
}

/// Called with the producer's gate held, before the scheduler's state in the lock order.
impl Demand for HeadTrack {
    fn wanted(&self, since: Since) -> bool {
        self.shared.arm(self.id, since)
    }

    fn unwanted(&self) {
        self.shared.disarm(self.id);
    }
}

impl Drop for HeadTrack {
    fn drop(&mut self) {
        self.shared.remove(self.id);
    }
}
