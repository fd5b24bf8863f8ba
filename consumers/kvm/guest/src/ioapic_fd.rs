//! Programs the redirection table of KVM's IOAPIC from outside the guest.
#![expect(unsafe_code, reason = "the ioapic's state lies in a union")]
// UNSAFETY: union member accesses of what KVM_GET_IRQCHIP filled.

use kvm_bindings::KVM_IRQCHIP_IOAPIC;
use kvm_bindings::kvm_ioapic_state__bindgen_ty_1 as redirection_entry;
use kvm_bindings::kvm_irqchip;
use kvm_ioctls::VmFd;
use rustix::io::Errno;

use crate::GuestVector;
use crate::PinError;

/// Pins of KVM's IOAPIC, 82093AA-like.
const PINS: u8 = 24;
/// Redirection entry bit 15: level instead of edge (82093AA datasheet §3.2.4).
const LEVEL: u64 = 1 << 15;

/// What makes a pin raise its vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// Each change from low to high.
    Edge,
    /// As long as it is high: again after each EOI.
    Level,
}

/// The entry's bits: fixed delivery, physical destination 0, active high, not masked.
fn entry_bits(vector: GuestVector, trigger: Trigger) -> u64 {
    let vector = u64::from(vector.get());
    match trigger {
        Trigger::Edge => vector,
        Trigger::Level => vector | LEVEL,
    }
}

/// Lets `pin` raise `vector` on the one vCPU.
pub(crate) fn route_pin(
    vm: &VmFd,
    pin: u8,
    vector: GuestVector,
    trigger: Trigger,
) -> Result<(), PinError> {
    if pin >= PINS {
        return Err(PinError::NoSuchPin { pin });
    }
    let failed = |error: kvm_ioctls::Error| PinError::Ioctl {
        pin,
        source: Errno::from_raw_os_error(error.errno()),
    };
    let mut chip = kvm_irqchip {
        chip_id: KVM_IRQCHIP_IOAPIC,
        ..kvm_irqchip::default()
    };
    vm.get_irqchip(&mut chip).map_err(failed)?;
    // SAFETY: the kernel filled the member that `chip_id` selects; it is plain integers in any state.
    let mut ioapic = unsafe { chip.chip.ioapic };
    ioapic.redirtbl[usize::from(pin)] = redirection_entry {
        bits: entry_bits(vector, trigger),
    };
    chip.chip.ioapic = ioapic;
    vm.set_irqchip(&chip).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_bits_of_a_level_pin_set_bit_15_and_leave_the_mask_clear() {
        let vector = GuestVector::LAST;
        assert_eq!(entry_bits(vector, Trigger::Edge), 0xff);
        assert_eq!(entry_bits(vector, Trigger::Level), 0x80ff);
    }
}
