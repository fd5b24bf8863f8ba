//! What of the bindings outlives a move to another process: masks, not eventfds.

use serde::Deserialize;
use serde::Serialize;

use crate::device::bindings::Bindings;
use crate::device::bindings::DisplaySlot;

/// A sub-index of the display's interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedSlot {
    /// Whether an eventfd was bound.
    pub(crate) bound: bool,
    /// Whether it is masked.
    pub(crate) masked: bool,
    /// Whether user space has fired it behind the mask.
    pub(crate) fired: bool,
}

impl Bindings {
    /// Those of the display's sub-indexes, in order.
    pub(crate) fn save_display(&self) -> Vec<SavedSlot> {
        let saved = |slot: &DisplaySlot| SavedSlot {
            bound: slot.trigger.is_some(),
            masked: slot.masked,
            fired: slot.fired,
        };
        self.display.iter().map(saved).collect()
    }

    /// Masks as they were saved, one for each sub-index. What is bound stays.
    pub(crate) fn restore_display(&mut self, saved: &[SavedSlot]) {
        for (slot, saved) in self.display.iter_mut().zip(saved) {
            slot.masked = saved.masked;
            slot.fired = saved.fired;
        }
    }

    /// Whether an eventfd of the display's is bound and not masked.
    pub(crate) fn display_listens(&self, sub_index: usize) -> bool {
        let slot = self.display.get(sub_index);
        slot.is_some_and(|slot| slot.trigger.is_some() && !slot.masked)
    }
}
