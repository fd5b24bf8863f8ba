//! Messages in the form this VM's kernel takes.

use irqbroker_core::DeviceId;
use irqbroker_core::MsiMessage;
use posted_irq::MsiAddress;
use posted_irq::ext_dest_id_to_x2apic;

use crate::route::MsiRoute;

/// How destination ids of messages are encoded, which the embedder chose with
/// `KVM_CAP_X2APIC_API` and no ioctl tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DestinationIds {
    /// 8 bits, in address bits 19:12; the upper half of the address is ignored.
    #[default]
    Bits8,
    /// `KVM_X2APIC_API_USE_32BIT_IDS`: bits 31:8 of the id are in address bits 63:40. Messages of
    /// guests that saw `KVM_FEATURE_MSI_EXT_DEST_ID` are translated.
    Bits32,
}

/// The kernel would refuse the message, and any table with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message address {address:#x} has bits 39:32 set, which must be zero with 32-bit ids")]
pub struct MessageRefused {
    /// The address.
    pub address: u64,
}

/// The route for a message of the guest.
///
/// A guest programs whatever it likes. What the kernel would refuse is refused here, one message
/// at a time: in a commit it would take everybody else's routes down with it.
pub(crate) fn route_for(
    message: MsiMessage,
    device: Option<DeviceId>,
    ids: DestinationIds,
) -> Result<MsiRoute, MessageRefused> {
    let address = match ids {
        DestinationIds::Bits8 => message.address,
        DestinationIds::Bits32 => ext_dest_id_to_x2apic(message.address),
    };
    check_address(address, ids)?;
    Ok(MsiRoute {
        message: MsiMessage { address, ..message },
        device,
    })
}

/// Whether the kernel takes the address (`arch/x86/kvm/irq.c`, `kvm_msi_route_invalid`).
pub(crate) fn check_address(address: u64, ids: DestinationIds) -> Result<(), MessageRefused> {
    match ids {
        DestinationIds::Bits32 if !MsiAddress::from_bits(address).is_valid_x2apic() => {
            Err(MessageRefused { address })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(address: u64) -> MsiMessage {
        MsiMessage {
            address,
            data: 0x41,
        }
    }

    #[test]
    fn route_for_translates_extended_ids_only_with_32_bit_ids() {
        let guest = message(0xfee3_4000 | 0x12 << 5);
        let translated = route_for(guest, None, DestinationIds::Bits32).unwrap();
        assert_eq!(translated.message, message(0x12 << 40 | 0xfee3_4000));
        let untouched = route_for(guest, None, DestinationIds::Bits8).unwrap();
        assert_eq!(untouched.message, guest);
    }

    #[test]
    fn route_for_refuses_what_the_kernel_would_refuse() {
        let address = 1 << 32 | 0xfee0_0000;
        assert_eq!(
            route_for(message(address), None, DestinationIds::Bits32),
            Err(MessageRefused { address })
        );
        let taken = route_for(message(address), None, DestinationIds::Bits8).unwrap();
        assert_eq!(taken.message, message(address));
    }
}
