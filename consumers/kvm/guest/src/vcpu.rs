//! Puts the vCPU and its local APIC into the state the guest starts from.

use kvm_bindings::CpuId;
use kvm_bindings::KVM_MAX_CPUID_ENTRIES;
use kvm_bindings::KVM_MP_STATE_HALTED;
use kvm_bindings::Msrs;
use kvm_bindings::kvm_lapic_state;
use kvm_bindings::kvm_msr_entry;
use kvm_bindings::kvm_regs;
use kvm_bindings::kvm_segment;
use kvm_ioctls::Kvm;
use kvm_ioctls::VcpuFd;
use rustix::io::Errno;

use crate::BuildError;
use crate::Irqchip;
use crate::layout;
use crate::program::X2APIC_EOI;
use crate::tsc_now;
use crate::vcpu_fd;

/// `IA32_APIC_BASE`: default address, enabled (bit 11), x2APIC (10), bootstrap processor (8).
const APIC_BASE_X2APIC: u64 = 0xfee0_0000 | 1 << 11 | 1 << 10 | 1 << 8;
/// Spurious-interrupt vector register: APIC software-enabled (bit 8), vector `0x0f`, which is stray.
const SVR: (usize, u32) = (0xf0, 1 << 8 | 0x0f);
/// LINT0 masked (bit 16): the PIC's output would come as an exception vector.
const LVT_LINT0: (usize, u32) = (0x350, 1 << 16);
/// In-service and interrupt-request registers, 8 words of 32 bits at a distance of 16 bytes each.
const ISR: usize = 0x100;
const IRR: usize = 0x200;
/// CR0 of real mode: only ET, which is fixed to 1; caches on.
const CR0_REAL_MODE: u64 = 1 << 4;
/// RFLAGS with IF; bit 1 is fixed to 1.
const RFLAGS_INTERRUPTS_ON: u64 = 1 << 9 | 1 << 1;
const MSR_IA32_TSC: u32 = 0x10;
/// Readings per estimate of the TSC offset; the tightest counts.
const TSC_TRIES: u32 = 16;

/// The guest's TSC minus the host's, in ticks modulo 2^64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TscOffset {
    /// Set to 0 through `KVM_VCPU_TSC_OFFSET`: a stamp of the guest is one of the host.
    Zero,
    /// Could not be set, but read; stamps are corrected by it, exactly.
    Read(u64),
    /// Could be neither set nor read (before Linux 5.16): taken from reading both counters. Stamps
    /// are corrected by it, to within half the duration of a system call.
    Estimated(u64),
}

impl TscOffset {
    /// The host's TSC at a stamp of the guest.
    #[must_use]
    pub fn to_host(self, guest: u64) -> u64 {
        match self {
            Self::Zero => guest,
            Self::Read(offset) | Self::Estimated(offset) => guest.wrapping_sub(offset),
        }
    }
}

/// Sets CPUID, segments, registers and the local APIC for the code of [`crate::program`].
pub(crate) fn set_up(kvm: &Kvm, vcpu: &VcpuFd, irqchip: Irqchip) -> Result<(), BuildError> {
    // What the host supports includes x2APIC, without which KVM refuses the APIC base below.
    let cpuid = ioctl(
        "KVM_GET_SUPPORTED_CPUID",
        kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES),
    )?;
    set_cpuid(vcpu, &cpuid)?;
    set_segments(vcpu, irqchip)?;
    let registers = kvm_regs {
        rip: u64::from(layout::IDLE_LOOP),
        rsp: u64::from(layout::STACK_TOP),
        rcx: u64::from(X2APIC_EOI),
        rflags: RFLAGS_INTERRUPTS_ON,
        ..kvm_regs::default()
    };
    ioctl("KVM_SET_REGS", vcpu.set_regs(&registers))?;
    if !irqchip.has_kernel_apic() {
        return Ok(());
    }
    enable_local_apic(vcpu)
}

fn set_cpuid(vcpu: &VcpuFd, cpuid: &CpuId) -> Result<(), BuildError> {
    ioctl("KVM_SET_CPUID2", vcpu.set_cpuid2(cpuid))
}

fn set_segments(vcpu: &VcpuFd, irqchip: Irqchip) -> Result<(), BuildError> {
    let mut special = ioctl("KVM_GET_SREGS", vcpu.get_sregs())?;
    let at_zero = |segment: kvm_segment| kvm_segment {
        base: 0,
        selector: 0,
        ..segment
    };
    // The rest of a segment is right after reset: 64 KiB, real mode.
    special.cs = at_zero(special.cs);
    special.ss = at_zero(special.ss);
    special.cr0 = CR0_REAL_MODE;
    if irqchip.has_kernel_apic() {
        special.apic_base = APIC_BASE_X2APIC;
    }
    ioctl("KVM_SET_SREGS", vcpu.set_sregs(&special))
}

/// From outside, so that an interrupt sent before the guest's first instruction is kept.
fn enable_local_apic(vcpu: &VcpuFd) -> Result<(), BuildError> {
    let mut lapic = ioctl("KVM_GET_LAPIC", vcpu.get_lapic())?;
    set_lapic_register(&mut lapic, SVR);
    set_lapic_register(&mut lapic, LVT_LINT0);
    ioctl("KVM_SET_LAPIC", vcpu.set_lapic(&lapic))
}

fn set_lapic_register(lapic: &mut kvm_lapic_state, (offset, value): (usize, u32)) {
    let register = &mut lapic.regs[offset..offset + 4];
    for (byte, new) in register.iter_mut().zip(value.to_le_bytes()) {
        *byte = i8::from_ne_bytes([new]);
    }
}

/// Whether the halted vCPU has nothing to do: no interrupt requested, in service or on its way in.
pub(crate) fn is_quiet(vcpu: &VcpuFd) -> Result<bool, Errno> {
    let state = vcpu.get_mp_state().map_err(errno)?;
    let lapic = vcpu.get_lapic().map_err(errno)?;
    let idle = |bank: usize| {
        (0..8).all(|word| {
            let offset = bank + word * 0x10;
            lapic.regs[offset..offset + 4].iter().all(|byte| *byte == 0)
        })
    };
    Ok(state.mp_state == KVM_MP_STATE_HALTED && idle(IRR) && idle(ISR))
}

/// Makes the guest's TSC the host's where the kernel can, else learns the difference.
pub(crate) fn settle_tsc(vcpu: &VcpuFd) -> Result<TscOffset, BuildError> {
    if vcpu_fd::set_tsc_offset(vcpu, 0).is_ok() {
        return Ok(TscOffset::Zero);
    }
    match vcpu_fd::tsc_offset(vcpu) {
        Ok(offset) => Ok(TscOffset::Read(offset)),
        Err(_) => estimate_tsc_offset(vcpu).map(TscOffset::Estimated),
    }
}

/// The offset as far as it shows from reading both counters, see [`TscOffset::Estimated`].
pub(crate) fn estimate_tsc_offset(vcpu: &VcpuFd) -> Result<u64, BuildError> {
    let mut best = (u64::MAX, 0);
    for _ in 0..TSC_TRIES {
        let before = tsc_now();
        let guest = read_msr(vcpu, MSR_IA32_TSC)?;
        let width = tsc_now().saturating_sub(before);
        if width < best.0 {
            best = (width, guest.wrapping_sub(before + width / 2));
        }
    }
    Ok(best.1)
}

fn read_msr(vcpu: &VcpuFd, index: u32) -> Result<u64, BuildError> {
    const CALL: &str = "KVM_GET_MSRS";
    let entry = kvm_msr_entry {
        index,
        ..kvm_msr_entry::default()
    };
    let not_there = || BuildError::Ioctl {
        call: CALL,
        source: Errno::INVAL,
    };
    let mut msrs = Msrs::from_entries(&[entry]).map_err(|_| not_there())?;
    ioctl(CALL, vcpu.get_msrs(&mut msrs))?;
    let read = msrs.as_slice().first().map(|entry| entry.data);
    read.ok_or_else(not_there)
}

/// Names the ioctl whose result this is.
pub(crate) fn ioctl<T>(
    call: &'static str,
    result: Result<T, kvm_ioctls::Error>,
) -> Result<T, BuildError> {
    result.map_err(|error| BuildError::Ioctl {
        call,
        source: errno(error),
    })
}

fn errno(error: kvm_ioctls::Error) -> Errno {
    Errno::from_raw_os_error(error.errno())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_host_takes_the_offset_off_even_where_it_is_negative() {
        // The guest is 100 ticks behind the host.
        let offset = 0u64.wrapping_sub(100);
        assert_eq!(TscOffset::Zero.to_host(5), 5);
        assert_eq!(TscOffset::Read(offset).to_host(5), 105);
        assert_eq!(TscOffset::Estimated(3).to_host(5), 2);
    }

    #[test]
    fn lapic_register_is_written_little_endian_at_its_offset() {
        let mut lapic = kvm_lapic_state::default();
        set_lapic_register(&mut lapic, SVR);
        assert_eq!(lapic.regs[0xf0..0xf4], [0x0f, 1, 0, 0]);
    }
}
