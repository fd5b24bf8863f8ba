//! Which MSI-X vector tells the guest of what.

use crate::device::state::Life;
use crate::device::state::State;
use crate::device::state::head_id;
use crate::head_event::HeadEvent;
use crate::head_events::GUEST_EVENTS;
use crate::head_events::Listener;
use crate::head_events::Opened;

/// Vectors of a device: two for each head and one for the monitors of all.
pub(crate) const fn vector_count(heads: usize) -> usize {
    2 * heads + 1
}

impl State {
    /// Lets the guest's vectors listen to the events of a head that it has enabled.
    pub(crate) fn sync_vectors(&mut self, head: usize) {
        for (event, _) in GUEST_EVENTS {
            self.sync_vector(head, event);
        }
    }

    /// Lets the guest's vector listen to an event, or not.
    pub(crate) fn sync_vector(&mut self, head: usize, event: HeadEvent) {
        let Some(vector) = self.vector(head, event) else {
            return;
        };
        let enabled = self.registers.enabled(head_id(head));
        let bit = GUEST_EVENTS.iter().find(|(guest, _)| *guest == event);
        let listens = bit.is_some_and(|(_, bit)| enabled.contains(*bit))
            && self.bindings.is_vector_bound(vector);
        let events = &mut self.heads[head].events;
        match (events.is_open(event, Listener::Vector), listens) {
            // The status register says what has happened before.
            (false, true) => {
                let owed = events.open(event, Listener::Vector, Opened::Anew);
                if owed && self.life == Life::Running {
                    self.bindings.signal_vector(vector);
                }
            }
            (true, false) => events.close(event, Listener::Vector),
            _ => {}
        }
    }

    /// The vector of an event, if the guest can be interrupted for it.
    pub(crate) fn vector(&self, head: usize, event: HeadEvent) -> Option<usize> {
        match event {
            HeadEvent::Vblank => Some(2 * head),
            HeadEvent::Flip => Some(2 * head + 1),
            HeadEvent::Hotplug => Some(2 * self.heads.len()),
            HeadEvent::Cursor | HeadEvent::Refresh => None,
        }
    }

    /// The events that a vector is signalled for.
    pub(crate) fn events_of(&self, vector: usize) -> Vec<(usize, HeadEvent)> {
        let heads = 0..self.heads.len();
        let all = heads.flat_map(|head| GUEST_EVENTS.map(|(event, _)| (head, event)));
        all.filter(|&(head, event)| self.vector(head, event) == Some(vector))
            .collect()
    }
}
