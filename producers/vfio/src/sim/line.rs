//! A level line, and the mask that VFIO puts on it with each event.
//!
//! ```text
//!   open, low ──assert──► event, masked ──unmask, still asserted──► event, masked
//!      ▲                        │
//!      └──── unmask, low ───────┘
//! ```

use irqbroker_core::Token;

use super::eventfd;

#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) asserted: bool,
    pub(super) masked: bool,
    /// Eventfds that mask (vfio-platform only) and unmask (`virqfd`).
    pub(super) mask: Option<Token>,
    pub(super) unmask: Option<Token>,
}

/// Whether something is to be signalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fires {
    Yes,
    No,
}

impl Line {
    /// The interrupt handler runs if the line is asserted and not masked: masks, and signals.
    pub(super) fn settle(&mut self) -> Fires {
        if self.asserted && !self.masked {
            self.masked = true;
            return Fires::Yes;
        }
        Fires::No
    }

    /// Whether the eventfds that mask and unmask have been written to.
    pub(super) fn claim(&mut self) -> (bool, bool) {
        let written = |event: &Option<Token>| event.as_ref().is_some_and(eventfd::claim);
        (written(&self.mask), written(&self.unmask))
    }
}
