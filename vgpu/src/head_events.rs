//! When the events of a head happen, and who is to be told: no clock, lock or eventfd.
//!
//! ```text
//!  register write ─► commit, cursor ──► waiting ─┐
//!                                                ├─ vblank ─► occurred[event] += 1
//!  contents found changed ───────────────────────┘               │
//!                                     gate: open and occurred > seen ─► signal, once
//! ```
//!
//! Every event counts how often it has occurred; every listener knows up to where it has been told.
//! Whatever has to wait for a vblank is settled when somebody asks for a later frame, so nothing
//! ticks for that: [`HeadEvents::next_alarm`] is a frame only while somebody is to be told then.

mod reset;
mod saved;

use crate::head_event::HeadEvent;
pub(crate) use crate::head_events::saved::Carried;
pub(crate) use crate::head_events::saved::SavedEvents;
use crate::registers::Interrupts;
use crate::sampler::Look;

/// Who can listen to an event, each on its own and with its own mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Listener {
    /// The producer in this process.
    Producer,
    /// The eventfd of the display interrupt's sub-index.
    Display,
    /// The eventfd of the MSI-X vector, for the guest.
    Vector,
    /// The eventfd of a view of the head, by the view's place.
    View(usize),
}

impl Listener {
    /// Those that are always there; the views come after them.
    const FIXED: [Self; 3] = [Self::Producer, Self::Display, Self::Vector];

    const fn place(self) -> usize {
        match self {
            Self::Producer => 0,
            Self::Display => 1,
            Self::Vector => 2,
            Self::View(view) => Self::FIXED.len() + view,
        }
    }

    fn at(place: usize) -> Self {
        let view = || Self::View(place - Self::FIXED.len());
        Self::FIXED.get(place).copied().unwrap_or_else(view)
    }
}

/// Since when a listener listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// It is new: what has occurred is not its own.
    Anew,
    /// It was masked: what has occurred meanwhile is.
    Again,
}

/// Whether there is a picture to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Picture {
    /// There is.
    Visible,
    /// The head is off or blank.
    Hidden,
}

/// Counts of what a head has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadCounters {
    /// Frames the guest has committed.
    pub commits: u64,
    /// Commits that another one followed before the vblank, so that both are one flip.
    pub coalesced: u64,
    /// Vblanks at which there was a flip.
    pub flips: u64,
    /// Vblanks at which the picture may have changed, flips included.
    pub refreshes: u64,
    /// Changes of the cursor, as seen at vblanks.
    pub cursors: u64,
    /// Times a monitor was plugged or unplugged.
    pub hotplugs: u64,
    /// Looks at the picture's contents for changes without a commit.
    pub looks: u64,
    /// Those that found one.
    pub changes: u64,
}

/// How changes of a head's picture are found at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Watch {
    /// Nobody listens, or there is no picture.
    Idle,
    /// By looking at its contents, each time after so many frames.
    Every(u64),
}

#[derive(Debug, Clone, Copy, Default)]
struct Gate {
    open: bool,
    /// Occurrences the listener has been told of, or that are not its own.
    seen: u64,
    /// What it brings along from where the device was before.
    carried: Carried,
}

/// Changes that are shown from the next vblank on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Waiting {
    flip: bool,
    cursor: bool,
    /// The flip is that of a reset, or was there before it: nothing the guest did since.
    before_reset: bool,
}

/// When to look at the contents next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looking {
    /// Not at all.
    Off,
    /// At the vblank of `frame`, and `interval` frames after that if nothing has changed.
    At { frame: u64, interval: u64 },
    /// Just now.
    Under { interval: u64 },
}

/// The events of one head.
#[derive(Debug, Clone)]
pub(crate) struct HeadEvents {
    frame: u64,
    /// Frames between two looks at contents that do not change.
    idle: u64,
    waiting: Waiting,
    occurred: [u64; HeadEvent::COUNT],
    /// By listener, then by event.
    gates: Vec<[Gate; HeadEvent::COUNT]>,
    acknowledged: [u64; HeadEvent::COUNT],
    picture: Picture,
    looking: Looking,
    counters: HeadCounters,
}

impl HeadEvents {
    pub(crate) fn new() -> Self {
        Self {
            frame: 0,
            idle: 1,
            waiting: Waiting::default(),
            occurred: [0; HeadEvent::COUNT],
            gates: vec![[Gate::default(); HeadEvent::COUNT]; Listener::FIXED.len()],
            acknowledged: [0; HeadEvent::COUNT],
            picture: Picture::Hidden,
            looking: Looking::Off,
            counters: HeadCounters::default(),
        }
    }

    /// Goes on to `frame`, the newest. `idle` is how many frames make half a second, at least 1.
    /// To be called before anything else at each entry; an earlier frame changes nothing.
    pub(crate) fn advance(&mut self, frame: u64, idle: u64) {
        self.idle = idle;
        if frame <= self.frame {
            return;
        }
        self.frame = frame;
        self.occurred[HeadEvent::Vblank.position()] = frame;
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.flip {
            self.occur(HeadEvent::Flip);
            self.occur(HeadEvent::Refresh);
        }
        if waiting.before_reset {
            self.forget_flips();
        }
        if waiting.cursor {
            self.occur(HeadEvent::Cursor);
        }
    }

    /// Whether something that was committed is not shown yet.
    pub(crate) const fn flip_waits(&self) -> bool {
        self.waiting.flip
    }

    /// The guest has finished a frame.
    pub(crate) fn commit(&mut self) {
        self.counters.commits += 1;
        // A reset is no commit that another one follows.
        self.counters.coalesced += u64::from(self.waiting.flip && !self.waiting.before_reset);
        self.flip();
    }

    /// The head shows another picture, or none.
    pub(crate) fn flip(&mut self) {
        self.waiting.flip = true;
        self.waiting.before_reset = false;
        // A guest that commits is not looked at: what it finishes it says.
        self.look_after(self.idle);
    }

    pub(crate) fn cursor(&mut self) {
        self.waiting.cursor = true;
    }

    pub(crate) fn hotplug(&mut self) {
        self.occur(HeadEvent::Hotplug);
    }

    pub(crate) fn set_picture(&mut self, picture: Picture) {
        if self.picture != picture {
            self.picture = picture;
            self.look_after(self.idle);
        }
    }

    /// A listener is there. Returns whether it is to be told at once.
    pub(crate) fn open(&mut self, event: HeadEvent, listener: Listener, opened: Opened) -> bool {
        let occurred = self.occurred[event.position()];
        if self.gates.len() <= listener.place() {
            self.gates
                .resize_with(listener.place() + 1, Default::default);
        }
        let gate = &mut self.gates[listener.place()][event.position()];
        let owed = gate.open(opened, occurred);
        if event == HeadEvent::Refresh && self.looking == Looking::Off {
            // What was drawn while nobody looked is unknown.
            self.look_after(1);
        }
        owed
    }

    /// It is not any more.
    pub(crate) fn close(&mut self, event: HeadEvent, listener: Listener) {
        if let Some(gates) = self.gates.get_mut(listener.place()) {
            gates[event.position()].open = false;
        }
        if !self.wants(HeadEvent::Refresh) {
            self.looking = Looking::Off;
        }
    }

    pub(crate) fn is_open(&self, event: HeadEvent, listener: Listener) -> bool {
        let gates = self.gates.get(listener.place());
        gates.is_some_and(|gates| gates[event.position()].open)
    }

    /// Whether the contents are to be looked at now; [`looked`](Self::looked) then says what was
    /// found.
    pub(crate) fn take_look(&mut self) -> bool {
        match self.looking {
            Looking::At { frame, interval } if frame <= self.frame => {
                self.looking = Looking::Under { interval };
                true
            }
            _ => false,
        }
    }

    /// What was found, or `None` if the picture could not be read. Returns whether that counts: not
    /// if there has been a flip or the last listener has gone meanwhile.
    pub(crate) fn looked(&mut self, look: Option<Look>) -> bool {
        let Looking::Under { interval } = self.looking else {
            return false;
        };
        self.counters.looks += 1;
        self.look_after(1);
        match look {
            Some(Look::First) => {}
            // All that was drawn before is shown with this one.
            Some(Look::Complete) => self.occur(HeadEvent::Refresh),
            Some(Look::Changed) => {
                self.counters.changes += 1;
                self.occur(HeadEvent::Refresh);
            }
            Some(Look::Same) | None => self.look_after((interval * 2).min(self.idle)),
        }
        true
    }

    /// Those who are to be told now; they count as told. The guest comes last: it may draw into a
    /// buffer once it is told that another is shown, and by then whoever looks knows that too.
    pub(crate) fn take_signals(&mut self) -> Vec<(HeadEvent, Listener)> {
        let mut signals = Vec::new();
        for event in HeadEvent::ALL {
            let occurred = self.occurred[event.position()];
            for (place, gates) in self.gates.iter_mut().enumerate() {
                let gate = &mut gates[event.position()];
                if gate.open && occurred > gate.seen {
                    gate.seen = occurred;
                    signals.push((event, Listener::at(place)));
                }
            }
        }
        signals.sort_by_key(|(_, listener)| *listener == Listener::Vector);
        signals
    }

    /// The vblank at which there is something to do next; one that is over: now.
    pub(crate) fn next_alarm(&self) -> Option<u64> {
        let next = self.frame.saturating_add(1);
        let flip =
            self.waiting.flip && (self.wants(HeadEvent::Flip) || self.wants(HeadEvent::Refresh));
        let cursor = self.waiting.cursor && self.wants(HeadEvent::Cursor);
        let vblank = self.wants(HeadEvent::Vblank);
        let look = match self.looking {
            Looking::At { frame, .. } => Some(frame),
            _ => None,
        };
        let owed = self.is_owed().then_some(self.frame);
        let due = (flip || cursor || vblank).then_some(next);
        owed.into_iter().chain(due).chain(look).min()
    }

    /// Events the guest has not acknowledged.
    pub(crate) fn status(&self) -> Interrupts {
        let mut status = Interrupts::empty();
        for (event, bit) in GUEST_EVENTS {
            let unseen = self.occurred[event.position()] > self.acknowledged[event.position()];
            status.set(bit, unseen);
        }
        status
    }

    pub(crate) fn acknowledge(&mut self, which: Interrupts) {
        for (event, bit) in GUEST_EVENTS {
            if which.contains(bit) {
                self.acknowledged[event.position()] = self.occurred[event.position()];
            }
        }
    }

    pub(crate) fn frame(&self) -> u64 {
        self.frame
    }

    pub(crate) fn counters(&self) -> HeadCounters {
        let occurred = |event: HeadEvent| self.occurred[event.position()];
        HeadCounters {
            flips: occurred(HeadEvent::Flip),
            refreshes: occurred(HeadEvent::Refresh),
            cursors: occurred(HeadEvent::Cursor),
            hotplugs: occurred(HeadEvent::Hotplug),
            ..self.counters
        }
    }

    pub(crate) fn watch(&self) -> Watch {
        match self.looking {
            Looking::Off => Watch::Idle,
            Looking::At { interval, .. } | Looking::Under { interval } => Watch::Every(interval),
        }
    }

    fn occur(&mut self, event: HeadEvent) {
        self.occurred[event.position()] += 1;
    }

    fn wants(&self, event: HeadEvent) -> bool {
        let mut gates = self.gates.iter();
        gates.any(|gates| gates[event.position()].open)
    }

    fn is_owed(&self) -> bool {
        HeadEvent::ALL.iter().any(|event| {
            let occurred = self.occurred[event.position()];
            let mut gates = self.gates.iter().map(|gates| gates[event.position()]);
            gates.any(|gate| gate.open && occurred > gate.seen)
        })
    }

    fn look_after(&mut self, interval: u64) {
        self.looking = if self.picture == Picture::Visible && self.wants(HeadEvent::Refresh) {
            Looking::At {
                frame: self.frame.saturating_add(interval),
                interval,
            }
        } else {
            Looking::Off
        };
    }
}

/// What the guest can be interrupted for, by its bit.
pub(crate) const GUEST_EVENTS: [(HeadEvent, Interrupts); 3] = [
    (HeadEvent::Vblank, Interrupts::VBLANK),
    (HeadEvent::Flip, Interrupts::FLIP),
    (HeadEvent::Hotplug, Interrupts::HOTPLUG),
];

#[cfg(test)]
mod tests;
