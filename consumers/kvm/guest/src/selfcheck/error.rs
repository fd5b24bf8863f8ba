//! Why a check failed.

use rustix::io::Errno;

use crate::BuildError;
use crate::ClockError;
use crate::PinError;
use crate::ProbeError;
use crate::RunError;
use crate::StampOrder;
use crate::StartError;
use crate::Tally;
use crate::WaitError;

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The guest could not be built.
    #[error("cannot build the guest")]
    Build(#[from] BuildError),
    /// The vCPU thread could not be started.
    #[error("cannot start the guest")]
    Start(#[from] StartError),
    /// An interrupt did not come.
    #[error("an interrupt did not come")]
    Wait(#[from] WaitError),
    /// The guest did not become quiet.
    #[error("the guest did not become quiet")]
    Probe(#[from] ProbeError),
    /// The guest failed.
    #[error("the guest failed")]
    Run(#[from] RunError),
    /// A pin could not be programmed.
    #[error("cannot program a pin")]
    Pin(#[from] PinError),
    /// The TSC could not be calibrated.
    #[error("cannot calibrate the tsc")]
    Clock(#[from] ClockError),
    /// A handler ran before the event it answers: guest and host disagree about the TSC.
    #[error("guest and host stamps are out of order")]
    Order(#[from] StampOrder),
    /// A system call of the check's own failed.
    #[error("{call} failed")]
    Call {
        /// What was called.
        call: &'static str,
        /// What the kernel answered.
        #[source]
        source: Errno,
    },
    /// Stamps were overwritten before they were read.
    #[error("{overrun} stamps overwritten in a run that reads each")]
    Overrun {
        /// How many.
        overrun: u64,
    },
    /// The account is not what the check demands.
    #[error("account is not even: {tally:?}")]
    Account {
        /// The account.
        tally: Tally,
    },
    /// A count is not what the check demands.
    #[error("{what}: {found} instead of {wanted}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// The count found.
        found: u64,
        /// The count demanded.
        wanted: u64,
    },
    /// A wait or a probe did not end with the failure of the vCPU.
    #[error("{what} did not report the vcpu's failure")]
    NotReported {
        /// The call that should have.
        what: &'static str,
    },
}

/// Names the call whose result this is.
pub(super) fn call<T>(
    call: &'static str,
    result: Result<T, kvm_ioctls::Error>,
) -> Result<T, CheckError> {
    result.map_err(|error| CheckError::Call {
        call,
        source: Errno::from_raw_os_error(error.errno()),
    })
}

/// Names the call whose result this is, for calls that answer with an I/O error.
pub(super) fn io<T>(call: &'static str, result: std::io::Result<T>) -> Result<T, CheckError> {
    result.map_err(|error| CheckError::Call {
        call,
        source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    })
}
