//! One vblank of a head, asked for by its device.

/// Called for the alarm of a head, on the thread that drives the scheduler.
pub(crate) trait FrameAlarm: Send + Sync {
    /// The vblank asked for, or a later one if the scheduler ran late: `frame` is the newest. May
    /// set the next alarm; must not destroy an instance.
    fn due(&self, frame: u64);
}
