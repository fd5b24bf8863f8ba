//! Start, stop and failure of the guest.

use kvm_bindings::kvm_msi;

use super::CheckError;
use super::deadline;
use super::error::call;
use crate::GuestVector;
use crate::GuestVm;
use crate::Irqchip;
use crate::ProbeError;
use crate::RunError;
use crate::RunOptions;
use crate::TscOffset;
use crate::Wait;
use crate::WaitError;
use crate::tsc_now;
use crate::vcpu;
use crate::vcpu_fd;

/// An interrupt sent before the vCPU runs must be taken once it does.
///
/// # Errors
///
/// [`CheckError::Wait`] if it is not.
pub fn interrupt_before_run_is_kept() -> Result<(), CheckError> {
    let guest = GuestVm::builder().build()?;
    let vector = GuestVector::FIRST;
    let vm = guest.vm();
    call("KVM_SIGNAL_MSI", vm.signal_msi(vector.kvm_msi()))?;
    let running = guest.run(RunOptions::default())?;
    running.wait_delivered(vector, 1, deadline(), Wait::Spin)?;
    running.stop()?;
    Ok(())
}

/// A vector without a handler must end waits and probes with its number, before their deadlines.
///
/// # Errors
///
/// [`CheckError::NotReported`] if one of them ends otherwise.
pub fn stray_vector_ends_every_wait() -> Result<(), CheckError> {
    // The lowest vector a local APIC takes, and still an exception's.
    const STRAY: u8 = 0x10;
    let guest = GuestVm::builder().build()?;
    let running = guest.run(RunOptions::default())?;
    let stray = kvm_msi {
        data: u32::from(STRAY),
        ..GuestVector::FIRST.kvm_msi()
    };
    call("KVM_SIGNAL_MSI", running.vm().signal_msi(stray))?;
    let expected = RunError::StrayVector { vector: STRAY };
    let waited = running.wait_delivered(GuestVector::FIRST, 1, deadline(), Wait::Spin);
    if waited != Err(WaitError::Ended(expected)) {
        return Err(CheckError::NotReported {
            what: "wait_delivered",
        });
    }
    if running.quiesce(deadline()) != Err(ProbeError::Ended(expected)) {
        return Err(CheckError::NotReported { what: "quiesce" });
    }
    if running.stop() != Err(expected) {
        return Err(CheckError::NotReported { what: "stop" });
    }
    Ok(())
}

/// Guests stopped at any point of their start, busy or idle, must not hang: a kick that gets lost
/// would leave the join waiting for ever.
///
/// # Errors
///
/// [`CheckError`] if a guest cannot be started or fails.
pub fn start_and_stop() -> Result<(), CheckError> {
    // Starts per irqchip: the window of a lost kick is a few hundred nanoseconds of some 100 us.
    const STARTS: u32 = 50;
    let irqchips = [
        Irqchip::Full,
        Irqchip::Split { reserved_pins: 0 },
        Irqchip::None,
        Irqchip::UserSpace,
    ];
    for irqchip in irqchips {
        for start in 0..STARTS {
            let guest = GuestVm::builder().irqchip(irqchip).build()?;
            let running = guest.run(RunOptions::default())?;
            // Other points of the start each time; not a wait for anything.
            (0..start * 100).for_each(|_| std::hint::spin_loop());
            running.stop()?;
        }
    }
    Ok(())
}

/// A handler's stamp must lie between two stamps of the host around it.
///
/// # Errors
///
/// [`CheckError::Count`] if it does not.
pub fn tsc_is_the_hosts() -> Result<(), CheckError> {
    let guest = GuestVm::builder().build()?;
    let vector = GuestVector::FIRST;
    let mut reader = guest.counters().stamps(vector);
    let running = guest.run(RunOptions::default())?;
    let before = tsc_now();
    call("KVM_SIGNAL_MSI", running.vm().signal_msi(vector.kvm_msi()))?;
    running.wait_delivered(vector, 1, deadline(), Wait::Spin)?;
    let after = tsc_now();
    let mut stamps = Vec::new();
    reader.drain(&mut stamps);
    running.stop()?;
    let between = stamps
        .iter()
        .filter(|stamp| (before..=after).contains(*stamp))
        .count();
    if between != 1 {
        return Err(CheckError::Count {
            what: "stamps between two of the host",
            found: between as u64,
            wanted: 1,
        });
    }
    Ok(())
}

/// The offset estimated for kernels that cannot tell it must be the one of a kernel that can; passes
/// without a comparison where this one cannot.
///
/// # Errors
///
/// [`CheckError::Count`] if they are further apart than a system call takes.
pub fn tsc_offset_estimate_agrees() -> Result<(), CheckError> {
    // Ticks, some 0.3 s: far more than the tightest of many readings even on a busy host, far less than a
    // wrong offset, which is the host's time since boot.
    const TOLERANCE: u64 = 1_000_000_000;
    let guest = GuestVm::builder().build()?;
    if let TscOffset::Estimated(_) = guest.tsc_offset() {
        return Ok(());
    }
    let told = vcpu_fd::tsc_offset(&guest.vcpu).map_err(|source| CheckError::Call {
        call: "KVM_GET_DEVICE_ATTR of KVM_VCPU_TSC_OFFSET",
        source,
    })?;
    let estimated = vcpu::estimate_tsc_offset(&guest.vcpu)?;
    // Differences modulo 2^64 go both ways.
    let apart = estimated
        .wrapping_sub(told)
        .min(told.wrapping_sub(estimated));
    if apart > TOLERANCE {
        return Err(CheckError::Count {
            what: "ticks between the estimated and the real tsc offset",
            found: apart,
            wanted: TOLERANCE,
        });
    }
    Ok(())
}
