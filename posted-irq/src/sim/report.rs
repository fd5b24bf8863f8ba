//! What a simulated run has cost.

/// Why an entry was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SimCause {
    /// A new route leads to another vCPU or vector, and the old one did too.
    Retarget,
    /// A new route can be posted, the old one could not.
    Promote,
    /// A new route cannot be posted, the old one could.
    Demote,
    /// Neither can.
    StayRemapped,
    /// The host moved its interrupt while the entry posts.
    HostMovedPosted,
    /// The host moved its interrupt while the entry does not.
    HostMovedRemapped,
    /// A VM began or ended.
    Bind,
    /// A device was taken out, with all its entries at once. Counted for each entry.
    Unplug,
}

impl SimCause {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::Retarget,
        Self::Promote,
        Self::Demote,
        Self::StayRemapped,
        Self::HostMovedPosted,
        Self::HostMovedRemapped,
        Self::Bind,
        Self::Unplug,
    ];
}

/// How many entries were looked at for a reason, and what it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SimChanges {
    /// How many.
    pub events: u64,
    /// How many invalidations were queued for it.
    pub invalidations: u64,
}

/// Sums of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SimReport {
    /// Vectors posted by devices or, for entries that do not post, by the host.
    pub posted: u64,
    /// Vectors taken by vCPUs.
    pub delivered: u64,
    /// Posts of a vector that was pending.
    pub coalesced: u64,
    /// Vectors pending when their VM ended.
    pub discarded: u64,
    /// Posts that notified nobody.
    pub silent: u64,
    /// Of these, those to a vCPU that was preempted; for the others somebody had been notified.
    pub suppressed: u64,
    /// Notifications sent, of either vector.
    pub notifications: u64,
    /// Of these, those with the wakeup vector.
    pub wakeup_notifications: u64,
    /// Of these, those that found nothing to do.
    pub spurious: u64,
    /// Blocked vCPUs that were woken, also by themselves because something came before.
    pub wakeups: u64,
    /// Interrupts that went through the host because their route cannot be posted.
    pub synthesised: u64,
    /// Interrupts of VMs that were away, taken by the host.
    pub unclaimed: u64,
    /// Messages that named an entry which was not there.
    pub refused: u64,
    /// vCPUs that lost their processor while they had work.
    pub preemptions: u64,
    /// vCPUs loaded on another processor than before.
    pub migrations: u64,
    /// Nanoseconds from post to delivery, over all delivered.
    pub waited_ns: u64,
    /// What was done to entries, in the order of [`SimCause::ALL`].
    pub changes: [SimChanges; SimCause::ALL.len()],
}

impl SimReport {
    /// What was done to entries for this reason.
    #[must_use]
    pub const fn changes(&self, cause: SimCause) -> SimChanges {
        self.changes[cause as usize]
    }

    /// Invalidations for whatever reason.
    #[must_use]
    pub fn invalidations(&self) -> u64 {
        self.changes
            .iter()
            .map(|changes| changes.invalidations)
            .sum()
    }

    pub(super) const fn note(&mut self, cause: SimCause, events: u64, invalidations: u64) {
        let changes = &mut self.changes[cause as usize];
        changes.events += events;
        changes.invalidations += invalidations;
    }
}
