//! What a GSI leads to, as plain types.

use std::hash::Hash;
use std::hash::Hasher;

use irqbroker_core::DeviceId;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;

/// Number of an interrupt controller in a routing entry (`include/uapi/linux/kvm.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Irqchip(pub u32);

impl Irqchip {
    /// The first 8259 of a PC, pins 0-7.
    pub const PIC_MASTER: Self = Self(0);
    /// The second 8259 of a PC, pins 0-7.
    pub const PIC_SLAVE: Self = Self(1);
    /// The IOAPIC of a PC, pins 0-23.
    pub const IOAPIC: Self = Self(2);
    /// The distributor of an arm64 machine; pin 0 is the first shared peripheral interrupt.
    pub const VGIC: Self = Self(0);
}

/// A message as a route: with the device id where the kernel takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MsiRoute {
    /// The message, in the form the kernel takes.
    pub message: MsiMessage,
    /// The device that sends it (arm64 ITS).
    pub device: Option<DeviceId>,
}

impl Hash for MsiRoute {
    /// Two words instead of the four that derive makes: this is looked up for each vector.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let device = self.device.map_or(0, |DeviceId(id)| id);
        state.write_u64(self.message.address);
        state.write_u64(u64::from(self.message.data) << 32 | u64::from(device));
    }
}

/// Where a GSI's interrupts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// Sent as a message.
    Msi(MsiRoute),
    /// Raises a pin of an in-kernel interrupt controller.
    Pin {
        /// The controller.
        chip: Irqchip,
        /// Its pin.
        pin: u32,
    },
}

impl Route {
    /// Whether one GSI can lead to both.
    pub(crate) fn goes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pin { chip, .. }, Self::Pin { chip: other, .. }) => chip != other,
            _ => false,
        }
    }
}

/// One entry of a routing table.
///
/// A GSI has at most one message, or at most one pin of each controller: an ISA interrupt of a PC
/// has two entries, PIC and IOAPIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteEntry {
    /// The GSI.
    pub gsi: Gsi,
    /// Where it leads.
    pub target: Route,
}
