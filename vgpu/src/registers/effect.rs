//! What a guest's register write comes to, beside the register's new value.

use crate::head::HeadId;

/// Something that happened in a register write, in the order in which it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The display was enabled and its memory is to be cleared, from the start of the VRAM on.
    ClearVram {
        /// Bytes.
        len: u64,
    },
    /// The guest has finished a frame.
    Commit(HeadId),
    /// A head shows another picture, or none, without a frame having been finished.
    PictureChanged(HeadId),
    /// A head's cursor looks different, is elsewhere, or is gone.
    CursorChanged(HeadId),
    /// Which events of a head interrupt the guest.
    InterruptsEnabled(HeadId),
    /// The guest has seen these events of a head.
    Acknowledged(HeadId, Interrupts),
}

bitflags::bitflags! {
    /// Events of a head that the guest can be interrupted for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub(crate) struct Interrupts: u32 {
        /// A refresh period has ended.
        const VBLANK = 1 << 0;
        /// What was committed is shown.
        const FLIP = 1 << 1;
        /// The monitor was plugged or unplugged.
        const HOTPLUG = 1 << 2;
    }
}
