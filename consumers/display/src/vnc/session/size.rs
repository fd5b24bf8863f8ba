//! The size of the picture: what the viewer is told of it, and what it asks for.

use super::Session;
use crate::vnc::message::Layout;
use crate::vnc::options::Resize;
use crate::vnc::replies::Status;
use crate::vnc::screen::Screen;
use crate::vnc::update;
use crate::vnc::update::Reason;
use crate::vnc::wishes::Size;

impl Session {
    /// The viewer asks for another layout of screens.
    pub(super) fn wish(&mut self, layout: Layout) {
        let refusal = match (self.terms.resize, layout) {
            (Resize::Refused, _) => Some(Status::Prohibited),
            (Resize::Monitor, Layout::Other) => Some(Status::InvalidLayout),
            (Resize::Monitor, Layout::OneScreen { width, height }) => {
                self.wish = Some((width, height));
                None
            }
        };
        self.replies.owe(refusal);
    }

    /// The size that the viewer wants, if it has asked for one since this was called last. It is owed
    /// an answer by [`answer`](Self::answer).
    pub(in crate::vnc) fn take_wish(&mut self) -> Option<Size> {
        self.wish.take()
    }

    /// Has the viewer told what comes of what it has wished so far.
    pub(in crate::vnc) fn answer(&mut self, status: Status) {
        self.replies.decide(status);
    }

    /// Tells the size, if the viewer has to be told and understands it. One that does not goes on
    /// with the size it knows: the picture is cut, or black beyond its edge.
    pub(super) fn resize(&mut self, screen: &Screen, out: &mut Vec<u8>) -> bool {
        let differs = self.size != screen.size();
        if differs && (self.known.size || self.known.extended_size) {
            self.size = screen.size();
            self.replaced();
            if !self.known.extended_size {
                update::resize(self.size, out);
                return true;
            }
            self.owed.size = true;
        }
        let mut reasons: Vec<Reason> = self.replies.take().into_iter().map(Reason::Asked).collect();
        // The last word, since not every answer says what size there is.
        let told = std::mem::take(&mut self.owed.size) && self.known.extended_size;
        reasons.extend(told.then_some(Reason::Told));
        if !reasons.is_empty() {
            update::extended_resize(&reasons, self.size, out);
        }
        !reasons.is_empty()
    }
}
