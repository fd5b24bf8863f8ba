//! What a reset of the guest's leaves to be told.

use crate::head_event::HeadEvent;
use crate::head_events::HeadEvents;
use crate::head_events::Listener;
use crate::head_events::Picture;
use crate::registers::Interrupts;

impl HeadEvents {
    /// The guest begins anew, and is told of nothing from before. Those who look are told at the next vblank
    /// that `picture` and cursor are gone, if they were there.
    pub(crate) fn reset(&mut self, picture: Picture, cursor: bool) {
        if picture == Picture::Visible {
            self.flip();
        }
        self.waiting.cursor |= cursor;
        self.waiting.before_reset = self.waiting.flip;
        self.acknowledge(Interrupts::all());
    }

    /// The flips so far are none of the guest's, neither of its status nor of its vector.
    pub(super) fn forget_flips(&mut self) {
        let place = HeadEvent::Flip.position();
        let flips = self.occurred[place];
        self.acknowledged[place] = flips;
        self.gates[Listener::Vector.place()][place].seen = flips;
    }
}
