//! Served vectors: the handler asks, and goes on when its device has been served.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use super::CheckError;
use super::deadline;
use super::error::call;
use crate::Counters;
use crate::GuestVector;
use crate::GuestVm;
use crate::RunOptions;
use crate::Served;
use crate::Wait;

/// Counts, and notes whether the handler had counted when it asked.
struct Device {
    counters: Counters,
    served: AtomicU64,
    early: AtomicU64,
}

impl Served for Device {
    fn serve(&self, vector: GuestVector) {
        // Relaxed, all of them: read after the vCPU thread has been joined.
        let served = self.served.fetch_add(1, Ordering::Relaxed) + 1;
        if self.counters.delivered(vector) != served {
            self.early.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sends a served vector `rounds` times, and one that is not served in between: the first must ask
/// once each time, after it has counted, the second never.
///
/// # Errors
///
/// [`CheckError::Count`] if it asked too often, too rarely or too early.
pub fn served_before_the_handler_goes_on(rounds: u64) -> Result<(), CheckError> {
    let (asks, other) = (GuestVector::LAST, GuestVector::FIRST);
    let guest = GuestVm::builder().served(asks).build()?;
    let vm = guest.vm();
    let device = Arc::new(Device {
        counters: guest.counters(),
        served: AtomicU64::new(0),
        early: AtomicU64::new(0),
    });
    let running = guest.run(RunOptions {
        served: Some(device.clone()),
        ..RunOptions::default()
    })?;
    for round in 1..=rounds {
        for vector in [asks, other] {
            call("KVM_SIGNAL_MSI", vm.signal_msi(vector.kvm_msi()))?;
            running.wait_delivered(vector, round, deadline(), Wait::Spin)?;
        }
    }
    running.stop()?;
    let count = |what, counter: &AtomicU64, wanted| {
        let found = counter.load(Ordering::Relaxed);
        if found == wanted {
            return Ok(());
        }
        Err(CheckError::Count {
            what,
            found,
            wanted,
        })
    };
    count("services", &device.served, rounds)?;
    count("services before the count", &device.early, 0)
}
