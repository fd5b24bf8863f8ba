//! What viewers send, and whose place one takes that is let in by it.

use std::time::Instant;

use rustix::event::epoll::EventFlags;

use super::VncServer;
use crate::vnc::client::Ended;

/// How much is taken of one viewer before it is the others' turn.
const RECEIVE_MAX: usize = 16 << 10;

impl VncServer {
    /// Takes what a viewer has sent.
    pub(super) fn receive(&mut self, id: u64, ready: EventFlags) {
        let readable = EventFlags::IN | EventFlags::HUP | EventFlags::ERR;
        if !ready.intersects(readable) {
            return;
        }
        // Those that have asked for nothing hold no place.
        let held = self.looking() - self.idle().count();
        let refusal = self
            .door
            .refusal(&self.options.limits, held, Instant::now());
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let was_let_in = client.session.is_running();
        // As it is now: others may have come in, or guessed, since the handshake began.
        client.session.set_refusal(refusal);
        let mut buffer = [0; RECEIVE_MAX];
        match client.receive(&mut buffer) {
            Ok(()) => {
                if let Some(size) = client.session.take_wish() {
                    self.wishes.add(id, size);
                }
                if !was_let_in && client.session.is_running() {
                    client.let_in = Some(Instant::now());
                    self.door.admit();
                    self.make_room();
                }
            }
            Err(ended) => self.leave(id, &ended),
        }
    }

    /// Those behind their handshake that have asked for nothing so far.
    fn idle(&self) -> impl Iterator<Item = u64> {
        let idle = self
            .clients
            .iter()
            .filter(|(_, client)| client.session.is_idle());
        idle.map(|(&id, _)| id)
    }

    /// Leaves the one that has been in for longest without asking for anything, if one too many is in now.
    /// That is not the newcomer: it would not have been let in if all others had asked.
    fn make_room(&mut self) {
        if self.looking() <= self.options.limits.clients {
            return;
        }
        let longest = self.idle().min_by_key(|id| self.clients[id].let_in);
        if let Some(longest) = longest {
            self.leave(longest, &Ended::Crowded);
        }
    }
}
