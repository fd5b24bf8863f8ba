//! Where a head's alarms and the demand of its producers come in.

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::Weak;

use irqbroker_core::Demand;
use irqbroker_core::LocalError;
use irqbroker_core::LocalProducer;
use irqbroker_core::Since;

use crate::alarm::FrameAlarm;
use crate::device::VgpuDevice;
use crate::device::state::Life;
use crate::device::state::Outbox;
use crate::head_event::HeadEvent;
use crate::head_events::Listener;
use crate::head_events::Opened;

/// One head of a device, as scheduler and producers see it.
pub(crate) struct HeadPort {
    device: Weak<VgpuDevice>,
    head: usize,
    /// By event; those that have been asked for.
    producers: [OnceLock<EventProducer>; HeadEvent::COUNT],
}

/// A producer with what it tells of demand, which it does not keep itself.
struct EventProducer {
    producer: Arc<LocalProducer>,
    _demand: Arc<EventDemand>,
}

/// Demand for one event of one head.
struct EventDemand {
    device: Weak<VgpuDevice>,
    head: usize,
    event: HeadEvent,
}

impl HeadPort {
    pub(crate) fn new(device: Weak<VgpuDevice>, head: usize) -> Arc<Self> {
        Arc::new(Self {
            device,
            head,
            producers: Default::default(),
        })
    }

    pub(crate) fn as_alarm(self: &Arc<Self>) -> Weak<dyn FrameAlarm> {
        let port: Arc<dyn FrameAlarm> = self.clone();
        Arc::downgrade(&port)
    }

    /// The producer of an event, if it has been asked for.
    pub(crate) fn made(&self, event: HeadEvent) -> Option<&Arc<LocalProducer>> {
        self.producers[event.position()]
            .get()
            .map(|made| &made.producer)
    }

    pub(crate) fn producer(
        &self,
        instance: &str,
        event: HeadEvent,
    ) -> Result<Arc<LocalProducer>, LocalError> {
        if let Some(made) = self.made(event) {
            return Ok(made.clone());
        }
        let demand = Arc::new(EventDemand {
            device: self.device.clone(),
            head: self.head,
            event,
        });
        let told: Arc<dyn Demand> = demand.clone();
        let name = format!("{instance}.head{}.{event}", self.head);
        let made = EventProducer {
            producer: LocalProducer::with_demand(name, Arc::downgrade(&told))?,
            _demand: demand,
        };
        // Of two made at once one is dropped, which nobody has seen.
        let made = self.producers[event.position()].get_or_init(|| made);
        Ok(made.producer.clone())
    }
}

impl FrameAlarm for HeadPort {
    fn due(&self, frame: u64) {
        if let Some(device) = self.device.upgrade() {
            device.vblank(self.head, frame);
        }
    }
}

impl VgpuDevice {
    /// A vblank that was asked for has come: tells who is to be told, and looks at the picture if
    /// it is time to.
    pub(super) fn vblank(&self, head: usize, frame: u64) {
        let mut outbox = Outbox::default();
        let mut state = self.lock();
        if state.life != Life::Running {
            return;
        }
        let (now, half_second) = self.instance.heads()[head].frame_and_half_second();
        // It may have been on its way when a state was restored in which the frame is far off.
        let frame = frame.min(now);
        state.alarmed(head);
        state.heads[head].advance(frame, half_second);
        state.signal(head, &mut outbox);
        let look = state.take_look(head);
        let card = state.heads[head].card.take();
        state.rearm(&self.instance, head);
        drop(state);
        self.send(outbox);
        if let Some(painter) = card {
            self.card_due(head, painter, frame);
        }
        let Some(mut sampler) = look else {
            return;
        };
        // With no lock held: a vCPU that writes a register does not wait for this.
        let found = sampler.look(&self.vram);
        let mut outbox = Outbox::default();
        let mut state = self.lock();
        if let Err(error) = found {
            tracing::warn!(%error, name = self.instance.name(), "cannot read the vram");
            state.bindings.signal_err();
        }
        state.looked(head, sampler, found.ok());
        state.signal(head, &mut outbox);
        state.rearm(&self.instance, head);
        drop(state);
        self.send(outbox);
    }
}

/// Called with the producer's gate held, before the device's state in the lock order.
impl Demand for EventDemand {
    fn wanted(&self, since: Since) -> bool {
        let opened = match since {
            Since::Bound => Opened::Anew,
            Since::Held => Opened::Again,
        };
        let Some(device) = self.device.upgrade() else {
            return false;
        };
        let mut state = device.lock();
        state.advance(&device.instance, self.head);
        let events = &mut state.heads[self.head].events;
        let owed = events.open(self.event, Listener::Producer, opened);
        state.rearm(&device.instance, self.head);
        owed && state.life == Life::Running
    }

    fn unwanted(&self) {
        if let Some(device) = self.device.upgrade() {
            let mut state = device.lock();
            let events = &mut state.heads[self.head].events;
            events.close(self.event, Listener::Producer);
            state.rearm(&device.instance, self.head);
        }
    }
}

impl fmt::Debug for HeadPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadPort")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}
