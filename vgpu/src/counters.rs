//! What a scheduler counts.

use std::time::Duration;

/// What a scheduler has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VblankCounters {
    /// How often it was woken up. Grows only while a head is wanted, but for one wake-up that
    /// was set already when the last head ceased to be.
    pub wakeups: u64,
    /// Vblanks signalled. Those that happened behind a mask are not among them.
    pub ticks: u64,
    /// Vblanks at which a device looked for events of its own: flips that are due, listeners over
    /// VFIO, changes of a picture the guest draws into.
    pub alarms: u64,
    /// Vblanks of wanted heads whose successor's time came first; signalled together with it.
    pub missed: u64,
    /// The longest time from a vblank's deadline to the wake-up that served it.
    pub max_lateness: Duration,
}
