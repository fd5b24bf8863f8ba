//! Ends of interrupts where user space has the local APIC.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use super::CheckError;
use super::deadline;
use super::raiser::FIRST_VECTOR;
use super::raiser::PendingSet;
use crate::GuestVector;
use crate::GuestVm;
use crate::InterruptSource;
use crate::Irqchip;
use crate::Nesting;
use crate::RunOptions;
use crate::Wait;

/// Pending vectors, and how often the guest has ended one.
#[derive(Default)]
struct Apic {
    pending: PendingSet,
    ended: AtomicU64,
}

impl InterruptSource for Apic {
    fn is_pending(&self) -> bool {
        self.pending.is_pending()
    }

    fn take(&self) -> Option<GuestVector> {
        self.pending.take()
    }

    fn eoi(&self) {
        // Relaxed: read after the vCPU thread has been joined.
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends `rounds` interrupts one by one, with handlers that nest and handlers that do not: each must
/// be ended once, by an exit.
///
/// # Errors
///
/// [`CheckError::Count`] if one was ended too often or not at all.
pub fn eoi_in_user_space(rounds: u64) -> Result<(), CheckError> {
    let Some(vector) = GuestVector::new(FIRST_VECTOR) else {
        return Ok(());
    };
    for nesting in [Nesting::Off, Nesting::On] {
        let guest = GuestVm::builder()
            .irqchip(Irqchip::UserSpace)
            .nesting(nesting)
            .build()?;
        let apic = Arc::new(Apic::default());
        let source: Arc<dyn InterruptSource> = apic.clone();
        let running = guest.run(RunOptions {
            source: Some(source),
            ..RunOptions::default()
        })?;
        for round in 1..=rounds {
            apic.pending.post(vector);
            running.notifier().notify();
            running.wait_delivered(vector, round, deadline(), Wait::Spin)?;
        }
        running.quiesce(deadline())?;
        running.stop()?;
        let found = apic.ended.load(Ordering::Relaxed);
        if found != rounds {
            return Err(CheckError::Count {
                what: "ends of interrupts",
                found,
                wanted: rounds,
            });
        }
    }
    Ok(())
}
