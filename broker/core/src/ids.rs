//! Identifiers of the interrupt plane, each a type of its own.

use std::fmt;

/// The kernel's number for an eventfd context, `eventfd-id` in `/proc/<pid>/fdinfo/<fd>`.
///
/// Range `0..=i32::MAX` (the kernel hands them out from an IDA). Equal for dup'd and passed fds,
/// but reused after the last close: only a held fd makes it an identity, see [`Token`].
///
/// [`Token`]: crate::Token
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub u64);

/// Global system interrupt: an index into a VM's interrupt routing table (`Documentation/virt/kvm/api.rst`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gsi(pub u32);

/// Interrupt vector of a local APIC, 0-255; 0-15 are illegal in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vector(pub u8);

/// Interrupt number of the host's Linux, as `/proc/interrupts` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostIrq(pub u32);

/// Requester id of a PCI function, bus in bits 15:8, device in 7:3, function in 2:0.
///
/// The source-id that interrupt remapping checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rid(pub u16);

/// Device id that goes with an MSI where the interrupt controller asks for one (arm64 ITS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub u32);

/// A link's place in its registry plus the generation of that place.
///
/// A stale id is refused instead of naming whoever holds the place now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl LinkId {
    /// The id in one word: slot in bits 31:0, generation in bits 63:32.
    #[must_use]
    pub fn to_raw(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The inverse of [`to_raw`](Self::to_raw); whether it names a link is decided on use.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of the word"
    )]
    pub fn from_raw(raw: u64) -> Self {
        Self {
            slot: raw as u32,
            generation: (raw >> 32) as u32,
        }
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

macro_rules! display_as_number {
    ($($id:ident)*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

display_as_number!(EventId Gsi Vector HostIrq DeviceId);

impl fmt::Display for Rid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:02x}:{:02x}.{}",
            self.0 >> 8,
            self.0 >> 3 & 0x1f,
            self.0 & 7
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_id_raw_word_round_trips_with_slot_low_and_generation_high() {
        let id = LinkId {
            slot: 0x1234_5678,
            generation: 0x9abc_def0,
        };
        assert_eq!(id.to_raw(), 0x9abc_def0_1234_5678);
        assert_eq!(LinkId::from_raw(id.to_raw()), id);
    }

    #[test]
    fn rid_is_printed_as_bus_device_function() {
        assert_eq!(Rid(0x1fe5).to_string(), "1f:1c.5");
    }
}
