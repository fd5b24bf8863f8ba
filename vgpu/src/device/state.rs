//! What of a device changes, behind its one lock.

use irqbroker_vfio_abi::Errno;

use crate::config_space::ConfigSpace;
use crate::device::bindings::Bindings;
use crate::device::bindings::Change;
use crate::device::gfx_user::GfxUser;
use crate::device::irq_request::IrqRequest;
use crate::device::regions::Reset;
use crate::device::test_card::Card;
use crate::device::vectors::vector_count;
use crate::device::views::View;
use crate::edid_region::EdidRegion;
use crate::head::Head;
use crate::head::HeadId;
use crate::head_event::HeadEvent;
use crate::head_events::HeadEvents;
use crate::head_events::Listener;
use crate::head_events::Picture;
use crate::instance::VgpuInstance;
use crate::msix_table::MsixTable;
use crate::registers::Effect;
use crate::registers::HeadView;
use crate::registers::Monitor;
use crate::registers::Registers;
use crate::sampler::Look;
use crate::sampler::Sampler;
use crate::scanout::Scanout;
use crate::scanout_latch::ScanoutLatch;

/// Whether the device still signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It does.
    Running,
    /// Not at present: it was saved. Ends with a restore, a reset, or with whoever saved it.
    Stopped,
    /// Never again.
    Retired,
}

/// Whether somebody has opened the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    /// Nobody.
    Free,
    /// Its one user.
    Open,
}

/// A head as the device has it.
#[derive(Debug)]
pub(crate) struct HeadState {
    pub(crate) events: HeadEvents,
    pub(crate) monitor: Monitor,
    pub(crate) edid: EdidRegion,
    latch: ScanoutLatch,
    /// What is known of the picture's contents; away while they are being looked at.
    sampler: Option<Sampler>,
    /// The test card, if it shows one.
    pub(crate) card: Card,
    /// The alarm that is set.
    alarm: Option<u64>,
}

/// Registers, configuration space, bindings and events.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) life: Life,
    pub(crate) usage: Usage,
    pub(crate) config: ConfigSpace,
    pub(crate) registers: Registers,
    pub(crate) table: MsixTable,
    pub(crate) bindings: Bindings,
    pub(crate) heads: Vec<HeadState>,
    /// What the user of the device itself has of its first head.
    pub(crate) gfx: GfxUser,
    /// The views there are; a place is given again once its view is gone.
    pub(crate) views: Vec<Option<View>>,
    /// How often VRAM has been given back: pictures exported before are not what is shown any more.
    pub(crate) cleared: u64,
}

/// Producers of this process that are to be signalled once the lock is released: their own lock
/// comes before it.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Outbox(pub(crate) Vec<(usize, HeadEvent)>);

impl State {
    pub(crate) fn new(config: ConfigSpace, registers: Registers, edids: Vec<EdidRegion>) -> Self {
        let heads = edids.len();
        let mut state = Self {
            life: Life::Running,
            usage: Usage::Free,
            config,
            registers,
            table: MsixTable::new(vector_count(heads)),
            bindings: Bindings::new(heads, vector_count(heads)),
            heads: edids.into_iter().map(HeadState::new).collect(),
            gfx: GfxUser::default(),
            views: Vec::new(),
            cleared: 0,
        };
        for head in 0..heads {
            state.show_edid(head);
        }
        state
    }

    /// Brings the events of a head up to now.
    pub(crate) fn advance(&mut self, instance: &VgpuInstance, head: usize) {
        if let (Some(state), Some(timed)) = (self.heads.get_mut(head), instance.heads().get(head)) {
            let (frame, half_second) = timed.frame_and_half_second();
            state.advance(frame, half_second);
        }
    }

    /// What a head shows at present, if anything.
    pub(crate) fn shown(&mut self, instance: &VgpuInstance, head: usize) -> Option<Scanout> {
        self.advance(instance, head);
        self.heads.get(head)?.latch.shown()
    }

    /// What the registers of the first `heads` heads tell, as of now.
    pub(crate) fn views(&mut self, instance: &VgpuInstance, heads: usize) -> Vec<HeadView> {
        (0..heads.min(self.heads.len()))
            .map(|head| {
                self.advance(instance, head);
                let state = &self.heads[head];
                HeadView {
                    frame: state.events.frame(),
                    flips: state.events.counters().flips,
                    millihertz: instance.heads().get(head).map_or(0, millihertz),
                    status: state.events.status(),
                    monitor: state.monitor,
                }
            })
            .collect()
    }

    /// Takes an effect over into the events of its head. Returns the head.
    pub(crate) fn apply(&mut self, instance: &VgpuInstance, effect: Effect) -> Option<usize> {
        let id = match effect {
            Effect::ClearVram { .. } => return None,
            Effect::Commit(id)
            | Effect::PictureChanged(id)
            | Effect::CursorChanged(id)
            | Effect::InterruptsEnabled(id)
            | Effect::Acknowledged(id, _) => id,
        };
        let head = usize::from(id.0);
        self.advance(instance, head);
        let state = self.heads.get_mut(head)?;
        match effect {
            Effect::Commit(_) => state.events.commit(),
            Effect::PictureChanged(_) => state.events.flip(),
            Effect::CursorChanged(_) => state.events.cursor(),
            Effect::Acknowledged(_, which) => state.events.acknowledge(which),
            Effect::InterruptsEnabled(_) => self.sync_vectors(head),
            Effect::ClearVram { .. } => {}
        }
        if matches!(effect, Effect::Commit(_) | Effect::PictureChanged(_)) {
            self.show(id);
        }
        Some(head)
    }

    /// Registers and configuration as they were in the beginning, and what that means for the
    /// heads. What user space has bound and masked stays, as with a kernel's device; one that was saved
    /// runs again.
    pub(crate) fn reset(&mut self, instance: &VgpuInstance, reset: Reset) {
        self.start();
        for head in 0..self.heads.len() {
            self.advance(instance, head);
        }
        if reset == Reset::Device {
            self.reset_monitors();
        }
        for head in 0..self.heads.len() {
            let id = head_id(head);
            let picture = self.picture(id);
            let cursor = self.registers.cursor(id).is_some();
            self.heads[head].events.reset(picture, cursor);
        }
        self.gfx.reset();
        for view in self.views.iter_mut().flatten() {
            view.gfx.reset();
        }
        self.registers.reset();
        self.config.reset();
        self.table.reset();
        for head in 0..self.heads.len() {
            self.show(head_id(head));
            self.sync_vectors(head);
        }
    }

    /// Does what a SET_IRQS asks for. What got through before an error is taken over too.
    pub(crate) fn set_irqs(
        &mut self,
        instance: &VgpuInstance,
        request: IrqRequest<'_>,
    ) -> Result<(), Errno> {
        let mut changes = Vec::new();
        let answer = self.bindings.set(request, &mut changes);
        for change in changes {
            self.take_over(instance, change);
        }
        answer
    }

    /// Signals the eventfds of all who are to be told of a head's events, and leaves the producers
    /// in `outbox`.
    pub(crate) fn signal(&mut self, head: usize, outbox: &mut Outbox) {
        if self.life != Life::Running {
            return;
        }
        for (event, listener) in self.heads[head].events.take_signals() {
            match listener {
                Listener::Producer => outbox.0.push((head, event)),
                Listener::Display => self.bindings.signal_display(display_place(head, event)),
                Listener::Vector => {
                    if let Some(vector) = self.vector(head, event) {
                        self.bindings.signal_vector(vector);
                    }
                }
                Listener::View(place) => {
                    if let Some(Some(view)) = self.views.get(place) {
                        view.bindings.signal_display(event.position());
                    }
                }
            }
        }
    }

    /// Sets the alarm for what comes next, if that has changed.
    pub(crate) fn rearm(&mut self, instance: &VgpuInstance, head: usize) {
        let (Some(state), Some(timed)) = (self.heads.get_mut(head), instance.heads().get(head))
        else {
            return;
        };
        let next = state.events.next_alarm().into_iter();
        let paint = state
            .card
            .is_waiting()
            .then(|| state.events.frame().saturating_add(1));
        let next = next
            .chain(paint)
            .min()
            .filter(|_| self.life == Life::Running);
        if next != state.alarm {
            state.alarm = next;
            timed.set_alarm(next);
        }
    }

    /// The alarm has gone off.
    pub(crate) fn alarmed(&mut self, head: usize) {
        self.heads[head].alarm = None;
    }

    /// What the picture of a head is to be looked at with, if it is time to. Answered by
    /// [`looked`](Self::looked).
    pub(crate) fn take_look(&mut self, head: usize) -> Option<Sampler> {
        let state = &mut self.heads[head];
        let shown = state.latch.shown();
        if !state.events.take_look() {
            return None;
        }
        let Some(shown) = shown else {
            state.events.looked(None);
            return None;
        };
        // Of this picture, if there is one: `show` drops it with each change.
        let known = state.sampler.take();
        Some(known.unwrap_or_else(|| Sampler::new(shown)))
    }

    /// What a look found.
    pub(crate) fn looked(&mut self, head: usize, sampler: Sampler, look: Option<Look>) {
        let state = &mut self.heads[head];
        if state.events.looked(look) {
            state.sampler = Some(sampler);
        }
    }

    fn take_over(&mut self, instance: &VgpuInstance, change: Change) {
        match change {
            Change::DisplayOpened(place, opened) => {
                let (head, event) = display_at(place);
                self.advance(instance, head);
                let events = &mut self.heads[head].events;
                let owed = events.open(event, Listener::Display, opened);
                if owed && self.life == Life::Running {
                    self.bindings.signal_display(place);
                }
            }
            Change::DisplayClosed(place) => {
                let (head, event) = display_at(place);
                self.advance(instance, head);
                self.heads[head].events.close(event, Listener::Display);
            }
            Change::VectorBound(vector) | Change::VectorUnbound(vector) => {
                for (head, event) in self.events_of(vector) {
                    self.advance(instance, head);
                    // One in place of another goes on where that was: the guest notices nothing.
                    self.sync_vector(head, event);
                }
            }
        }
    }

    /// The alarm that was set is another device's time.
    pub(crate) fn forget_alarm(&mut self, head: usize) {
        let state = &mut self.heads[head];
        state.alarm = None;
        state.sampler = None;
    }

    /// Whether the guest shows anything on a head.
    fn picture(&self, id: HeadId) -> Picture {
        match self.registers.shown(id) {
            Some(_) => Picture::Visible,
            None => Picture::Hidden,
        }
    }

    /// Takes over what a head is to show; nothing is known of its contents.
    pub(crate) fn show(&mut self, id: HeadId) {
        let committed = self.registers.shown(id);
        let picture = self.picture(id);
        if let Some(state) = self.heads.get_mut(usize::from(id.0)) {
            state.sampler = None;
            state.latch.commit(committed);
            state.events.set_picture(picture);
        }
    }
}

impl HeadState {
    fn new(edid: EdidRegion) -> Self {
        Self {
            events: HeadEvents::new(),
            monitor: Monitor::Plugged,
            edid,
            latch: ScanoutLatch::default(),
            sampler: None,
            card: Card::Off,
            alarm: None,
        }
    }

    /// Goes on to `frame`; see [`HeadEvents::advance`].
    pub(crate) fn advance(&mut self, frame: u64, half_second: u64) {
        self.events.advance(frame, half_second);
        if !self.events.flip_waits() {
            self.latch.vblank();
        }
    }

    /// Where the picture is that is shown while a page flip waits for its vblank.
    pub(crate) fn held_picture(&self) -> Option<u64> {
        self.latch.held()
    }

    /// What was committed is shown, unless the picture at `held` is until the next vblank.
    pub(crate) fn take_up_pictures(&mut self, held: Option<u64>) {
        self.latch.vblank();
        if let Some(offset) = held {
            self.latch.hold(offset);
        }
    }
}

/// A head by its place; there are at most 16.
pub(crate) fn head_id(head: usize) -> HeadId {
    HeadId(u8::try_from(head).unwrap_or(u8::MAX))
}

pub(crate) fn display_place(head: usize, event: HeadEvent) -> usize {
    head * HeadEvent::COUNT + event.position()
}

fn display_at(place: usize) -> (usize, HeadEvent) {
    let event = HeadEvent::ALL[place % HeadEvent::COUNT];
    (place / HeadEvent::COUNT, event)
}

/// The rate, rounded down; at most a million.
fn millihertz(head: &Head) -> u32 {
    let refresh = head.refresh();
    let rate = u64::from(refresh.numerator()) * 1000 / u64::from(refresh.denominator());
    u32::try_from(rate).unwrap_or(u32::MAX)
}
