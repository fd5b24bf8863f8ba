//! An interrupt request to local APICs, as a message or a remapping entry makes it.

use crate::ids::ApicId;
use crate::message::Msi;
use crate::msi::DeliveryMode;
use crate::msi::MsiAddress;
use crate::msi::MsiData;

/// How the destination is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DestinationMode {
    /// An APIC id.
    Physical,
    /// A set, compared with each APIC's logical id.
    Logical,
}

/// The destination shorthand. Messages have none; it is here because the resolvers know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shorthand {
    /// The destination counts.
    None,
    /// The sender.
    Itself,
    /// All, the sender too.
    AllIncludingSelf,
    /// All but the sender.
    AllExcludingSelf,
}

/// Trigger mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TriggerMode {
    /// Edge.
    Edge,
    /// Level.
    Level,
}

/// Where a message keeps destination bits above 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageIds {
    /// Nowhere.
    Bits8,
    /// In address bits 63:40 (`KVM_X2APIC_API_USE_32BIT_IDS`).
    Bits32,
}

/// A request, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApicRequest {
    /// Vector; means nothing for some delivery modes.
    pub vector: u8,
    /// How it is taken.
    pub delivery_mode: DeliveryMode,
    /// How to read the destination.
    pub destination_mode: DestinationMode,
    /// The destination: an APIC id or a set.
    pub destination: ApicId,
    /// RH: one processor of the destination is chosen.
    pub redirection_hint: bool,
    /// Shorthand for the destination.
    pub shorthand: Shorthand,
    /// Trigger mode. Posting does not look at it.
    pub trigger: TriggerMode,
}

/// The request does not fit into a message with 8-bit destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("destination {destination:#x} does not fit into 8 bits")]
pub struct WideDestination {
    /// The destination.
    pub destination: u32,
}

impl ApicRequest {
    /// What KVM makes of a message in compatibility format (`kvm_set_msi_irq`).
    #[must_use]
    pub const fn from_msi(msi: Msi, ids: MessageIds) -> Self {
        let address = MsiAddress::from_bits(msi.address);
        let data = MsiData::from_bits(msi.data);
        let high = match ids {
            MessageIds::Bits8 => 0,
            MessageIds::Bits32 => address.dest_id_high(),
        };
        Self {
            vector: data.vector(),
            delivery_mode: data.delivery_mode(),
            destination_mode: if address.dm() {
                DestinationMode::Logical
            } else {
                DestinationMode::Physical
            },
            destination: ApicId(high << 8 | address.dest_id() as u32),
            redirection_hint: address.rh(),
            shorthand: Shorthand::None,
            trigger: if data.trigger() {
                TriggerMode::Level
            } else {
                TriggerMode::Edge
            },
        }
    }

    /// The message that says the same, for a route into KVM. A shorthand is lost.
    ///
    /// # Errors
    ///
    /// [`WideDestination`] if the message has no room for it.
    pub fn to_msi(self, ids: MessageIds) -> Result<Msi, WideDestination> {
        let ApicId(destination) = self.destination;
        let [low, ..] = destination.to_le_bytes();
        let high = destination >> 8;
        if high != 0 && ids == MessageIds::Bits8 {
            return Err(WideDestination { destination });
        }
        let address = MsiAddress::new()
            .with_dest_id(low)
            .with_dest_id_high(high)
            .with_dm(self.destination_mode == DestinationMode::Logical)
            .with_rh(self.redirection_hint);
        let level = self.trigger == TriggerMode::Level;
        let data = MsiData::new()
            .with_vector(self.vector)
            .with_delivery_mode(self.delivery_mode)
            .with_trigger(level)
            .with_level(level);
        Ok(Msi {
            address: address.into_bits(),
            data: data.into_bits(),
        })
    }

    /// Whether one processor of the destination is chosen: KVM takes RH for lowest priority too
    /// (`kvm_lowest_prio_delivery`).
    #[must_use]
    pub const fn chooses_one(&self) -> bool {
        self.redirection_hint || matches!(self.delivery_mode, DeliveryMode::LOWEST_PRIORITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Destination 0x12345678, logical, RH, vector 0x41, lowest priority, level asserted.
    const WIDE: Msi = Msi {
        address: 0x1234_5600_fee7_800c,
        data: 0xc141,
    };

    #[test]
    fn request_of_a_message_comes_back_as_the_message() {
        let request = ApicRequest::from_msi(WIDE, MessageIds::Bits32);
        assert_eq!(request.destination, ApicId(0x1234_5678));
        assert_eq!(request.destination_mode, DestinationMode::Logical);
        assert_eq!(request.delivery_mode, DeliveryMode::LOWEST_PRIORITY);
        assert_eq!(request.trigger, TriggerMode::Level);
        assert!(request.redirection_hint && request.chooses_one());
        assert_eq!(request.to_msi(MessageIds::Bits32), Ok(WIDE));
    }

    #[test]
    fn request_with_8_bit_ids_ignores_the_upper_half() {
        let request = ApicRequest::from_msi(WIDE, MessageIds::Bits8);
        assert_eq!(request.destination, ApicId(0x78));
    }

    #[test]
    fn wide_destination_does_not_fit_into_a_narrow_message() {
        let request = ApicRequest::from_msi(WIDE, MessageIds::Bits32);
        let destination = 0x1234_5678;
        let refused = Err(WideDestination { destination });
        assert_eq!(request.to_msi(MessageIds::Bits8), refused);
    }
}
