//! The guest virtual APIC log: which vCPU to wake for an interrupt it did not see.

use bitfield_struct::bitfield;

use crate::ids::VcpuId;

/// An entry of the guest virtual APIC log, 8 bytes (AMD IOMMU specification, section "Guest
/// Virtual APIC Request Logging").
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct GaLogEntry {
    /// The tag of the interrupt-remapping entry.
    #[bits(32)]
    pub ga_tag: GaTag,
    /// The device that asked.
    pub device_id: u16,
    #[bits(12)]
    _reserved_59_48: u16,
    /// 1 = `GA_GUEST_NR`: an interrupt for a guest that does not run.
    #[bits(4, default = GaLogEntry::GUEST_NOT_RUNNING)]
    pub kind: u8,
}

impl GaLogEntry {
    /// `GA_GUEST_NR`, the only kind there is.
    pub const GUEST_NOT_RUNNING: u8 = 1;
}

/// Names a vCPU of a VM, 32 bits. The split is KVM's since Linux 6.17 (`arch/x86/kvm/svm/avic.c`).
#[bitfield(u32)]
#[derive(PartialEq, Eq, Hash)]
pub struct GaTag {
    /// The vCPU's index in its VM.
    #[bits(9)]
    pub vcpu_index: u16,
    /// The VM, from 1.
    #[bits(23)]
    pub vm: u32,
}

impl GaTag {
    /// The vCPU that is meant.
    #[must_use]
    pub const fn vcpu(self) -> VcpuId {
        VcpuId(self.vcpu_index() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ga_log_fields_one_hot_are_where_the_spec_puts_them() {
        let zero = GaLogEntry::from_bits(0);
        let tag = zero.with_ga_tag(GaTag::from_bits(u32::MAX));
        assert_eq!(tag.into_bits(), 0xffff_ffff);
        assert_eq!(zero.with_device_id(0xffff).into_bits(), 0xffff << 32);
        assert_eq!(zero.with_kind(0xf).into_bits(), 0xf << 60);
        assert_eq!(GaLogEntry::new().into_bits(), 1 << 60);
    }

    #[test]
    fn ga_tag_fields_one_hot_are_where_kvm_puts_them() {
        let index = GaTag::new().with_vcpu_index(0x1ff);
        assert_eq!(index.into_bits(), 0x1ff);
        assert_eq!(index.vcpu(), VcpuId(0x1ff));
        assert_eq!(GaTag::new().with_vm(0x7f_ffff).into_bits(), !0x1ff);
    }
}
