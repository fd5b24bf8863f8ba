//! What an interrupt index's capability chain can say.
//!
//! Specified in `design/irq-info-capabilities.md`; upstream has no such chain.

use zerocopy::IntoBytes;

use crate::capability::RawCapability;
use crate::chain;
use crate::chain::Entry;
use crate::flags::PlaneMask;
use crate::info_error::InfoError;
use crate::wire::DisplayEventWire;
use crate::wire::MsiDescriptorWire;
use crate::wire::TypeWire;

/// What an index is for. The id that both unmerged series used for this layout.
const TYPE: u16 = 3;
/// The events of a display. 1, 2 and 4 were given other layouts by unmerged series.
const DISPLAY: u16 = 5;
/// The messages of a platform device.
const MSI_DESCRIPTORS: u16 = 6;

/// A capability of an interrupt index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IrqCapability {
    /// What an index of the device's own is for.
    Type(IrqType),
    /// What each sub-index of a display's index says, in ascending order of sub-index.
    Display(Vec<DisplayEvent>),
    /// The messages a platform device sends, in ascending order of sub-index; those of
    /// sub-indexes that are not set up are not there.
    MsiDescriptors(Vec<MsiDescriptor>),
    /// Of an id or a version that this crate does not know.
    Unknown(RawCapability),
}

/// What an interrupt index is for, where its number does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IrqType {
    /// Family; bit 31 and a PCI vendor id for a vendor's own.
    pub type_: u32,
    /// Member of the family.
    pub subtype: u32,
}

impl IrqType {
    /// The events of a display; [`IrqCapability::Display`] says which.
    pub const GFX_DISPLAY: Self = Self {
        type_: 1,
        subtype: 1,
    };
    /// The message-signalled interrupts of a platform device.
    pub const PLATFORM_MSI: Self = Self {
        type_: 2,
        subtype: 1,
    };
}

/// What one sub-index of a display's index says when it is signalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DisplayEvent {
    /// The sub-index.
    pub sub_index: u32,
    /// What has happened.
    pub kind: DisplayEventKind,
    /// To which head, 0-based.
    pub head: u32,
    /// To which of its planes; empty where the kind speaks of no plane.
    pub planes: PlaneMask,
}

/// What has happened to a head.
///
/// Open: a kind that is not known is kept as it came, and is not to be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DisplayEventKind(pub u32);

impl DisplayEventKind {
    /// A refresh period has ended, whether or not there is anything new to see.
    pub const VBLANK: Self = Self(1);
    /// The planes show another buffer, or from another place, or no longer: query them anew.
    pub const FLIP: Self = Self(2);
    /// What the planes show may have changed, in the same buffer or by a flip: query and present.
    pub const REFRESH: Self = Self(3);
    /// A monitor was plugged or unplugged, or has another EDID: read the EDID anew.
    pub const HOTPLUG: Self = Self(4);
}

/// The message of one sub-index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MsiDescriptor {
    /// The sub-index.
    pub sub_index: u32,
    /// Where the device writes.
    pub address: u64,
    /// What it writes.
    pub data: u32,
}

impl IrqCapability {
    pub(crate) fn from_entry(entry: &Entry<'_>, count: u32) -> Result<Self, InfoError> {
        match entry.known_id() {
            Some(TYPE) => {
                let TypeWire { type_, subtype } = entry.fixed()?;
                Ok(Self::Type(IrqType { type_, subtype }))
            }
            Some(DISPLAY) => {
                let events: Vec<_> = entry.array()?.map(DisplayEvent::of).collect();
                check_sub_indexes(DISPLAY, events.iter().map(|event| event.sub_index), count)?;
                Ok(Self::Display(events))
            }
            Some(MSI_DESCRIPTORS) => {
                let messages: Vec<_> = entry.array()?.map(MsiDescriptor::of).collect();
                let sub_indexes = messages.iter().map(|message| message.sub_index);
                check_sub_indexes(MSI_DESCRIPTORS, sub_indexes, count)?;
                Ok(Self::MsiDescriptors(messages))
            }
            _ => Ok(Self::Unknown(entry.to_raw())),
        }
    }

    pub(crate) fn to_raw(&self) -> RawCapability {
        match self {
            Self::Type(IrqType { type_, subtype }) => {
                let wire = TypeWire {
                    type_: *type_,
                    subtype: *subtype,
                };
                chain::capability(TYPE, wire.as_bytes().to_vec())
            }
            Self::Display(events) => {
                let events = events.iter().map(|event| DisplayEventWire {
                    sub_index: event.sub_index,
                    kind: event.kind.0,
                    head: event.head,
                    planes: event.planes.bits(),
                });
                chain::capability(DISPLAY, chain::array_body(events))
            }
            Self::MsiDescriptors(messages) => {
                let messages = messages.iter().map(|message| MsiDescriptorWire {
                    address: message.address,
                    data: message.data,
                    sub_index: message.sub_index,
                });
                chain::capability(MSI_DESCRIPTORS, chain::array_body(messages))
            }
            Self::Unknown(raw) => raw.clone(),
        }
    }
}

/// Each below `count`, and ascending, so that none comes twice.
fn check_sub_indexes(
    id: u16,
    sub_indexes: impl Iterator<Item = u32>,
    count: u32,
) -> Result<(), InfoError> {
    let mut lowest = 0;
    for sub_index in sub_indexes {
        if sub_index < lowest || sub_index >= count {
            return Err(InfoError::SubIndex {
                id,
                sub_index,
                count,
            });
        }
        lowest = sub_index + 1;
    }
    Ok(())
}

impl DisplayEvent {
    fn of(wire: DisplayEventWire) -> Self {
        Self {
            sub_index: wire.sub_index,
            kind: DisplayEventKind(wire.kind),
            head: wire.head,
            planes: PlaneMask::from_bits_retain(wire.planes),
        }
    }
}

impl MsiDescriptor {
    fn of(wire: MsiDescriptorWire) -> Self {
        Self {
            sub_index: wire.sub_index,
            address: wire.address,
            data: wire.data,
        }
    }
}
