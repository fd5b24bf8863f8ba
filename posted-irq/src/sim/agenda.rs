//! What happens when, in simulated nanoseconds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// Some device interrupts.
    Interrupt,
    /// Some guest changes a route.
    Route,
    /// The host moves one of its interrupts.
    HostMove,
    /// Some device is taken out and put in again.
    Plug,
    /// Some VM ends.
    End,
    /// A VM begins again.
    Begin { vm: u32 },
    /// A notification arrives.
    Notify { processor: u32, vector: u8 },
    /// A processor's time with a vCPU is over, if `turn` is still its turn.
    Turn { processor: u32, turn: u64 },
    /// A unit has handled the invalidations up to this one, which was for a link's entry.
    Invalidated { link: u32, ticket: u64 },
}

/// Events in the order of their time, and among equals in that of their arrival.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    arrivals: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: u64, event: Event) {
        self.arrivals += 1;
        self.events.push(Reverse((at, self.arrivals, event)));
    }

    /// The next event, if there is one not later than this.
    pub(super) fn next(&mut self, until: u64) -> Option<(u64, Event)> {
        let Reverse((at, ..)) = self.events.peek()?;
        if *at > until {
            return None;
        }
        let Reverse((at, _, event)) = self.events.pop()?;
        Some((at, event))
    }
}
