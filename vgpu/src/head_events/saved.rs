//! The events of a head as they are saved, and taken back.

use serde::Deserialize;
use serde::Serialize;

use crate::head_event::HeadEvent;
use crate::head_events::Gate;
use crate::head_events::HeadEvents;
use crate::head_events::Listener;
use crate::head_events::Looking;
use crate::head_events::Opened;
use crate::head_events::Picture;
use crate::head_events::Waiting;

/// Beyond any count that a device reaches: centuries of events at 1 kHz. A larger one would
/// overflow as it goes on.
const COUNT_MAX: u64 = 1 << 48;

/// What has occurred on a head, and what whom was told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedEvents {
    frame: u64,
    flip_waits: bool,
    cursor_waits: bool,
    /// Left out while it is not so, as most of the time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    before_reset: bool,
    /// By event, as all below.
    occurred: [u64; HeadEvent::COUNT],
    acknowledged: [u64; HeadEvent::COUNT],
    told_display: [u64; HeadEvent::COUNT],
    told_vector: [u64; HeadEvent::COUNT],
    commits: u64,
    coalesced: u64,
    looks: u64,
    changes: u64,
}

/// What a listener that was there when the device was saved begins with once it is there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Carried {
    /// Nothing: it was not there.
    #[default]
    Nothing,
    /// Where it was: what it was not told of is its own.
    Listening,
    /// The same behind its mask.
    Masked,
}

impl SavedEvents {
    /// The frame counter.
    pub(crate) const fn frame(&self) -> u64 {
        self.frame
    }

    /// Whether no count is beyond what can be, or ahead of what it counts.
    pub(crate) fn is_sound(&self) -> bool {
        let counts = [
            self.frame,
            self.commits,
            self.coalesced,
            self.looks,
            self.changes,
        ];
        let behind = |of: &[u64; HeadEvent::COUNT]| {
            of.iter()
                .zip(&self.occurred)
                .all(|(seen, occurred)| seen <= occurred)
        };
        counts.iter().chain(&self.occurred).all(|&n| n < COUNT_MAX)
            && [&self.acknowledged, &self.told_display, &self.told_vector]
                .into_iter()
                .all(behind)
            && self.occurred[HeadEvent::Vblank.position()] == self.frame
    }
}

impl HeadEvents {
    pub(crate) fn save(&self) -> SavedEvents {
        let told = |listener: Listener| self.gates[listener.place()].map(|gate| gate.seen);
        SavedEvents {
            frame: self.frame,
            flip_waits: self.waiting.flip,
            cursor_waits: self.waiting.cursor,
            before_reset: self.waiting.before_reset,
            occurred: self.occurred,
            acknowledged: self.acknowledged,
            told_display: told(Listener::Display),
            told_vector: told(Listener::Vector),
            commits: self.counters.commits,
            coalesced: self.counters.coalesced,
            looks: self.counters.looks,
            changes: self.counters.changes,
        }
    }

    /// Goes on from where `saved` was. Nobody listens after this; who listens again, and where from,
    /// says `carried` for the display's eventfds and for the guest's vectors. Those of this process
    /// begin anew. The picture is to be set again.
    pub(crate) fn restore(
        &mut self,
        saved: &SavedEvents,
        carried: impl Fn(HeadEvent, Listener) -> Carried,
    ) {
        let listeners = self.gates.len();
        self.frame = saved.frame;
        self.waiting = Waiting {
            flip: saved.flip_waits,
            cursor: saved.cursor_waits,
            before_reset: saved.before_reset,
        };
        self.occurred = saved.occurred;
        self.acknowledged = saved.acknowledged;
        self.picture = Picture::Hidden;
        self.looking = Looking::Off;
        self.counters.commits = saved.commits;
        self.counters.coalesced = saved.coalesced;
        self.counters.looks = saved.looks;
        self.counters.changes = saved.changes;
        self.gates = vec![[Gate::default(); HeadEvent::COUNT]; listeners];
        for (listener, told) in [
            (Listener::Display, &saved.told_display),
            (Listener::Vector, &saved.told_vector),
        ] {
            for event in HeadEvent::ALL {
                self.gates[listener.place()][event.position()] = Gate {
                    open: false,
                    seen: told[event.position()],
                    carried: carried(event, listener),
                };
            }
        }
    }

    /// The listeners there are in this process, to be opened again after a
    /// [`restore`](Self::restore).
    pub(crate) fn listeners_here(&self) -> Vec<(HeadEvent, Listener)> {
        let all = (0..self.gates.len()).map(Listener::at);
        all.filter(|listener| !matches!(listener, Listener::Display | Listener::Vector))
            .flat_map(|listener| HeadEvent::ALL.map(|event| (event, listener)))
            .filter(|&(event, listener)| self.is_open(event, listener))
            .collect()
    }
}

impl Gate {
    /// Opens it at `occurred`. Returns whether something is owed.
    pub(crate) fn open(&mut self, opened: Opened, occurred: u64) -> bool {
        self.open = true;
        match (std::mem::take(&mut self.carried), opened) {
            // Its mask, which closes it again, keeps what is owed.
            (Carried::Masked, _) => return false,
            (Carried::Nothing, Opened::Anew) => self.seen = occurred,
            (Carried::Listening, _) | (_, Opened::Again) => {}
        }
        let owed = occurred > self.seen;
        self.seen = occurred;
        owed
    }
}
