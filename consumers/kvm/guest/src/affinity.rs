//! Binds threads to cores.

use rustix::io::Errno;
use rustix::thread::CpuSet;

/// A core as Linux numbers them, `/sys/devices/system/cpu/cpu<N>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CoreId(pub usize);

/// The thread could not be bound to the core.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind the thread to core {core}", core = core.0)]
pub struct AffinityError {
    /// The core asked for.
    pub core: CoreId,
    /// `EINVAL`: there is no such core, or the thread may not use it.
    #[source]
    pub source: Errno,
}

/// Binds the calling thread to one core.
///
/// # Errors
///
/// [`AffinityError`] with `EINVAL` where the core does not exist or is not in the thread's cpuset;
/// the thread stays where it was.
pub fn pin_current_thread(core: CoreId) -> Result<(), AffinityError> {
    let mut set = CpuSet::new();
    if core.0 >= CpuSet::MAX_CPU {
        return Err(AffinityError {
            core,
            source: Errno::INVAL,
        });
    }
    set.set(core.0);
    rustix::thread::sched_setaffinity(None, &set).map_err(|source| AffinityError { core, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pin_to_a_core_out_of_range_is_refused() {
        let core = CoreId(CpuSet::MAX_CPU);
        let refused = pin_current_thread(core).map_err(|error| error.source);
        assert_eq!(refused, Err(Errno::INVAL));
    }
}
