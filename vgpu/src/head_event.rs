//! The events of a head, and where each is found over VFIO.

use std::fmt;

use irqbroker_vfio_abi::DisplayEvent;
use irqbroker_vfio_abi::DisplayEventKind;
use irqbroker_vfio_abi::PlaneMask;

use crate::head::HeadId;

/// Something that happens to a head, each a producer and a sub-index of its own.
///
/// In the order of the sub-indexes of the display interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HeadEvent {
    /// The primary plane shows a frame that the guest has committed, or nothing any more; at a
    /// vblank, once for all commits since the one before.
    Flip,
    /// The cursor looks different, is elsewhere, or is gone; at a vblank.
    Cursor,
    /// A refresh period has ended.
    Vblank,
    /// A monitor was plugged or unplugged.
    Hotplug,
    /// What the primary plane shows may have changed: each [`Flip`](Self::Flip), and what the
    /// guest draws without committing.
    Refresh,
}

impl HeadEvent {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [
        Self::Flip,
        Self::Cursor,
        Self::Vblank,
        Self::Hotplug,
        Self::Refresh,
    ];

    /// How many there are: sub-indexes for each head.
    pub const COUNT: usize = Self::ALL.len();

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn position(self) -> usize {
        self as usize
    }

    /// Its sub-index of the display interrupt.
    #[must_use]
    pub fn sub_index(self, head: HeadId) -> u32 {
        u32::from(head.0) * const_u32(Self::COUNT) + const_u32(self.position())
    }

    /// Event and head of a sub-index, if the device has so many heads.
    #[must_use]
    pub fn of_sub_index(sub_index: u32) -> Option<(HeadId, Self)> {
        let sub_index = usize::try_from(sub_index).ok()?;
        let head = u8::try_from(sub_index / Self::COUNT).ok()?;
        Some((HeadId(head), Self::ALL[sub_index % Self::COUNT]))
    }

    /// What the display capability says of it.
    #[must_use]
    pub fn describe(self, head: HeadId) -> DisplayEvent {
        let (kind, planes) = match self {
            Self::Flip => (DisplayEventKind::FLIP, PlaneMask::PRIMARY),
            Self::Cursor => (DisplayEventKind::FLIP, PlaneMask::CURSOR),
            Self::Vblank => (DisplayEventKind::VBLANK, PlaneMask::empty()),
            Self::Hotplug => (DisplayEventKind::HOTPLUG, PlaneMask::empty()),
            Self::Refresh => (DisplayEventKind::REFRESH, PlaneMask::PRIMARY),
        };
        DisplayEvent {
            sub_index: self.sub_index(head),
            kind,
            head: u32::from(head.0),
            planes,
        }
    }
}

/// As it stands in a producer's name: `vgpu0.head1.flip`.
impl fmt::Display for HeadEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flip => "flip",
            Self::Cursor => "cursor",
            Self::Vblank => "vblank",
            Self::Hotplug => "hotplug",
            Self::Refresh => "refresh",
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "of numbers below 2^8")]
const fn const_u32(value: usize) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_indexes_count_events_within_heads() {
        let mut expected = 0;
        for head in (0..16).map(HeadId) {
            for event in HeadEvent::ALL {
                assert_eq!(event.sub_index(head), expected);
                assert_eq!(HeadEvent::of_sub_index(expected), Some((head, event)));
                assert_eq!(event.describe(head).sub_index, expected);
                expected += 1;
            }
        }
        assert_eq!(HeadEvent::of_sub_index(u32::MAX), None);
    }
}
