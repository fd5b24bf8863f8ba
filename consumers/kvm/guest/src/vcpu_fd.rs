//! vCPU calls that kvm-ioctls does not offer on x86, and what an exit means here.
#![expect(
    unsafe_code,
    reason = "vCPU ioctls without a safe wrapper, and a union of kvm_run"
)]
// UNSAFETY: KVM_INTERRUPT, KVM_SET_DEVICE_ATTR and KVM_GET_DEVICE_ATTR on a vCPU, one union read.

use kvm_bindings::KVM_VCPU_TSC_CTRL;
use kvm_bindings::KVM_VCPU_TSC_OFFSET;
use kvm_bindings::KVMIO;
use kvm_bindings::kvm_device_attr;
use kvm_bindings::kvm_interrupt;
use kvm_ioctls::VcpuExit;
use kvm_ioctls::VcpuFd;
use rustix::io::Errno;
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iow_nr;

use crate::GuestVector;
use crate::RunError;
use crate::program::SERVE_PORT;
use crate::program::STRAY_PORT;
use crate::program::X2APIC_EOI;

ioctl_iow_nr!(KVM_INTERRUPT, KVMIO, 0x86, kvm_interrupt);
ioctl_iow_nr!(KVM_SET_DEVICE_ATTR, KVMIO, 0xe1, kvm_device_attr);
ioctl_iow_nr!(KVM_GET_DEVICE_ATTR, KVMIO, 0xe2, kvm_device_attr);

/// Queues an external interrupt on a vCPU without an in-kernel local APIC.
pub(crate) fn inject(vcpu: &VcpuFd, vector: u8) -> Result<(), Errno> {
    let interrupt = kvm_interrupt {
        irq: u32::from(vector),
    };
    // SAFETY: the fd is a vCPU's and open; the kernel reads one kvm_interrupt, which lives past the call.
    let result = unsafe { ioctl_with_ref(vcpu, KVM_INTERRUPT(), &interrupt) };
    check(result)
}

/// Sets the guest's TSC minus the host's, in ticks modulo 2^64 (Linux 5.16).
pub(crate) fn set_tsc_offset(vcpu: &VcpuFd, offset: u64) -> Result<(), Errno> {
    let attribute = tsc_offset_attribute(&raw const offset as u64);
    // SAFETY: the fd is a vCPU's and open; the kernel reads one kvm_device_attr and the u64 it points
    // to, both of which live past the call.
    let result = unsafe { ioctl_with_ref(vcpu, KVM_SET_DEVICE_ATTR(), &attribute) };
    check(result)
}

/// Reads what [`set_tsc_offset`] sets.
pub(crate) fn tsc_offset(vcpu: &VcpuFd) -> Result<u64, Errno> {
    let mut offset = 0u64;
    let attribute = tsc_offset_attribute(&raw mut offset as u64);
    // SAFETY: the fd is a vCPU's and open; the kernel reads one kvm_device_attr and writes the u64 it
    // points to, both of which live past the call; the address was taken from a mutable place.
    let result = unsafe { ioctl_with_ref(vcpu, KVM_GET_DEVICE_ATTR(), &attribute) };
    check(result).map(|()| offset)
}

fn tsc_offset_attribute(address: u64) -> kvm_device_attr {
    kvm_device_attr {
        flags: 0,
        group: KVM_VCPU_TSC_CTRL,
        attr: u64::from(KVM_VCPU_TSC_OFFSET),
        addr: address,
    }
}

fn check(result: libc::c_int) -> Result<(), Errno> {
    if result == 0 {
        return Ok(());
    }
    let error = vmm_sys_util::errno::Error::last();
    Err(Errno::from_raw_os_error(error.errno()))
}

/// What the vCPU thread has to do after `KVM_RUN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Enter again.
    Again,
    /// The guest halts and KVM has no local APIC to wait with.
    Halted,
    /// A level vector was ended under a split irqchip.
    IoapicEoi(u8),
    /// A handler asks for its device to be served.
    Serve(GuestVector),
    /// A handler has ended its interrupt and KVM has no local APIC to end it in.
    Eoi,
}

/// Enters the guest once.
pub(crate) fn enter(vcpu: &mut VcpuFd) -> Result<Exit, RunError> {
    let exit = match vcpu.run() {
        Ok(exit) => exit,
        // EAGAIN: a vCPU that is not runnable yet, or a signal on some back ends.
        Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {
            return Ok(Exit::Again);
        }
        Err(error) => return Err(RunError::Enter(Errno::from_raw_os_error(error.errno()))),
    };
    match exit {
        VcpuExit::Hlt => Ok(Exit::Halted),
        VcpuExit::IoapicEoi(vector) => Ok(Exit::IoapicEoi(vector)),
        VcpuExit::IoOut(STRAY_PORT, &[vector]) => Err(RunError::StrayVector { vector }),
        // Handlers write nothing else there; another byte is ignored like another port.
        VcpuExit::IoOut(SERVE_PORT, &[vector]) => {
            Ok(GuestVector::new(vector).map_or(Exit::Again, Exit::Serve))
        }
        VcpuExit::X86Wrmsr(write) if write.index == X2APIC_EOI => {
            // Taken: the guest goes on behind the instruction.
            *write.error = 0;
            Ok(Exit::Eoi)
        }
        VcpuExit::IoOut(..) | VcpuExit::Intr | VcpuExit::IrqWindowOpen => Ok(Exit::Again),
        VcpuExit::Shutdown => Err(RunError::Shutdown),
        VcpuExit::FailEntry(reason, cpu) => Err(RunError::FailedEntry { reason, cpu }),
        VcpuExit::InternalError => Err(internal_error(vcpu)),
        _ => Err(RunError::UnexpectedExit {
            reason: vcpu.get_kvm_run().exit_reason,
        }),
    }
}

fn internal_error(vcpu: &mut VcpuFd) -> RunError {
    let details = &vcpu.get_kvm_run().__bindgen_anon_1;
    // SAFETY: the exit reason was KVM_EXIT_INTERNAL_ERROR, for which the kernel fills this member; it is
    // plain integers, valid in any state.
    let suberror = unsafe { details.internal.suberror };
    RunError::InternalError { suberror }
}
