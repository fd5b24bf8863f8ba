//! How long a service call may wait.

use irqbroker_core::Wait;
use rustix::event::Timespec;

/// As the kernel takes it; none is forever.
pub(crate) fn timeout(wait: Wait) -> Option<Timespec> {
    match wait {
        Wait::Forever => None,
        Wait::No => Some(Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        }),
        // Beyond what a timespec holds is forever.
        Wait::For(limit) => Timespec::try_from(limit).ok(),
    }
}
