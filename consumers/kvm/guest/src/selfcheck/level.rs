//! Level-triggered pins: what comes back when the guest ends their interrupt.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustix::io::Errno;
use vmm_sys_util::eventfd::EFD_NONBLOCK;
use vmm_sys_util::eventfd::EventFd;

use super::CheckError;
use super::deadline;
use super::error::call;
use super::error::io;
use super::raiser::msi_route;
use super::raiser::set_routes;
use crate::GuestVector;
use crate::GuestVm;
use crate::IoapicEoi;
use crate::Irqchip;
use crate::RunOptions;
use crate::Trigger;
use crate::Wait;

/// A pin that the PIC does not have too.
const PIN: u8 = 20;
/// MSI data bits 15 and 14: level, asserted (Intel SDM 3A §11.11.2).
const MSI_LEVEL_ASSERTED: u32 = 1 << 15 | 1 << 14;

/// Raises a level pin by an irqfd with resample `rounds` times: each must run the handler once
/// and signal the resample eventfd once.
///
/// # Errors
///
/// [`CheckError::Count`] if a signal or a run is missing or there is one too many.
pub fn resample_round_trip(rounds: u64) -> Result<(), CheckError> {
    let guest = GuestVm::builder().build()?;
    let vector = GuestVector::LAST;
    guest.route_pin(PIN, vector, Trigger::Level)?;
    let trigger = io("eventfd2", EventFd::new(EFD_NONBLOCK))?;
    let resample = io("eventfd2", EventFd::new(EFD_NONBLOCK))?;
    let gsi = u32::from(PIN);
    call(
        "KVM_IRQFD with resample",
        guest
            .vm()
            .register_irqfd_with_resample(&trigger, &resample, gsi),
    )?;
    let running = guest.run(RunOptions::default())?;
    for round in 1..=rounds {
        io("write to an eventfd", trigger.write(1))?;
        let signals = read_by(&resample, deadline())?;
        require("resample signals of a round", signals, 1)?;
        // Not before the signal everywhere: kvm-pvm ends an interrupt when it injects it.
        let delivered = running.wait_delivered(vector, round, deadline(), Wait::Spin)?;
        require("runs of the level handler", delivered, round)?;
    }
    running.quiesce(deadline())?;
    let delivered = running.counters().delivered(vector);
    require("runs of the level handler", delivered, rounds)?;
    let late = resample.read().unwrap_or(0);
    require("resample signals after the last round", late, 0)?;
    running.stop()?;
    Ok(())
}

/// Counts what the vCPU thread reports.
#[derive(Debug, Default)]
struct Ended {
    vector: AtomicU64,
    others: AtomicU64,
}

impl IoapicEoi for Ended {
    fn ended(&self, vector: u8) {
        let counter = if vector == GuestVector::FIRST.get() {
            &self.vector
        } else {
            &self.others
        };
        // Relaxed: read after the probe's answer, which orders it.
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Raises a level route of a reserved pin under a split irqchip `rounds` times: each EOI must be
/// reported once, with its vector.
///
/// # Errors
///
/// [`CheckError::Count`] if a report is missing, wrong, or there is one too many.
pub fn level_eoi_under_split_irqchip(rounds: u64) -> Result<(), CheckError> {
    let irqchip = Irqchip::Split { reserved_pins: 24 };
    let guest = GuestVm::builder().irqchip(irqchip).build()?;
    let vector = GuestVector::FIRST;
    let gsi = u32::from(PIN);
    let data = vector.msi_data() | MSI_LEVEL_ASSERTED;
    set_routes(&guest.vm(), &[msi_route(gsi, data)])?;
    let trigger = io("eventfd2", EventFd::new(EFD_NONBLOCK))?;
    call("KVM_IRQFD", guest.vm().register_irqfd(&trigger, gsi))?;
    let ended = Arc::new(Ended::default());
    let running = guest.run(RunOptions {
        ioapic_eoi: Some(Arc::clone(&ended) as Arc<dyn IoapicEoi>),
        ..RunOptions::default()
    })?;
    for round in 1..=rounds {
        io("write to an eventfd", trigger.write(1))?;
        running.wait_delivered(vector, round, deadline(), Wait::Spin)?;
    }
    running.quiesce(deadline())?;
    // Relaxed: ordered by the probe's answer.
    let reported = ended.vector.load(Ordering::Relaxed);
    require("ends of interrupt reported", reported, rounds)?;
    let others = ended.others.load(Ordering::Relaxed);
    require("ends of interrupt of other vectors", others, 0)?;
    running.stop()?;
    Ok(())
}

/// The eventfd's count once it is not zero.
fn read_by(eventfd: &EventFd, deadline: Instant) -> Result<u64, CheckError> {
    loop {
        match eventfd.read() {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            answer => return io("read of an eventfd", answer),
        }
        if Instant::now() >= deadline {
            return Err(CheckError::Call {
                call: "read of an eventfd",
                source: Errno::TIMEDOUT,
            });
        }
        std::hint::spin_loop();
    }
}

fn require(what: &'static str, found: u64, wanted: u64) -> Result<(), CheckError> {
    if found == wanted {
        Ok(())
    } else {
        Err(CheckError::Count {
            what,
            found,
            wanted,
        })
    }
}
