//! A look at each vblank just before it is signalled, for tools that measure.

use crate::clock::MonotonicTime;
use crate::head::HeadId;
use crate::instance::InstanceId;

/// A vblank that is about to be signalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vblank {
    /// The instance.
    pub instance: InstanceId,
    /// Its head.
    pub head: HeadId,
    /// The frame counter: the newest frame, if the scheduler missed some.
    pub frame: u64,
    /// When that frame's vblank was to happen.
    pub deadline: MonotonicTime,
}

/// Told of each vblank the scheduler signals, on the thread that drives it.
///
/// A vblank that happened behind a mask is signalled by the unmasking thread and not told here.
pub trait VblankObserver: Send + Sync {
    /// `vblank` is signalled when this returns, or kept pending if the head was masked meanwhile.
    ///
    /// All other heads wait for the return. Must not destroy an instance: that waits for the
    /// vblanks under way.
    fn vblank(&self, vblank: &Vblank);
}

/// Why an observer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ObserveError {
    /// There is one for the life of a scheduler.
    #[error("the vblank scheduler has an observer already")]
    AlreadyObserved,
}
