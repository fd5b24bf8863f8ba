//! How large a simulated host is, and how busy.

/// Nanoseconds between a notification and its arrival at the processor.
pub(super) const NOTIFICATION_NS: u64 = 1_000;
/// Nanoseconds that a unit takes for an invalidation.
pub(super) const INVALIDATION_NS: u64 = 2_000;
/// Nanoseconds that a vCPU may run while others wait.
pub(super) const SLICE_NS: u64 = 1_000_000;
/// Mean nanoseconds of work that an interrupt makes for its vCPU.
pub(super) const WORK_NS: u64 = 40_000;
/// Nanoseconds that a VM is away between two lives.
pub(super) const DOWN_NS: u64 = 500_000;
/// One vCPU of so many computes all the time and never blocks.
pub(super) const ONE_BUSY_OF: u32 = 8;
/// Interrupts that a vCPU gets in a second.
pub(super) const INTERRUPTS_PER_VCPU: f64 = 2_000.0;
/// How often in a second a guest changes the route of one interrupt.
pub(super) const ROUTES_PER_ENTRY: f64 = 20.0;
/// How often in a second the host moves one of its interrupts.
pub(super) const HOST_MOVES_PER_ENTRY: f64 = 5.0;
/// How often in a second a device is taken out and put in again.
pub(super) const PLUGS_PER_DEVICE: f64 = 5.0;
/// How often in a second a VM ends and another begins.
pub(super) const RESTARTS_PER_VM: f64 = 2.0;

/// How large a simulated host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimConfig {
    /// Equal seeds make equal runs.
    pub seed: u64,
    /// Physical processors, at least 1.
    pub processors: u32,
    /// Virtual machines, at least 1.
    pub vms: u32,
    /// vCPUs of each, 1-255: messages to APIC 255 would be broadcasts.
    pub vcpus_per_vm: u32,
    /// Remapping entries over both units, at least 1; 100 000 find room.
    pub entries: u32,
    /// What is done wrong on purpose.
    pub fault: Option<SimFault>,
}

/// What an embedder may get wrong. The simulator does so when told, to show that it would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SimFault {
    /// A changed entry is not invalidated.
    NoInvalidation,
    /// A new route that cannot be posted leaves the entry as it is (CVE-2025-37885).
    UnpostableKeepsEntry,
    /// A VM that ends leaves its entries posting.
    EndKeepsEntries,
    /// A host interrupt that moves is written over an entry that posts.
    HostMoveOverwrites,
    /// A vCPU sleeps though it was told that something came before.
    SleepsThroughWake,
    /// A wakeup interrupt is ignored now and then.
    WakeupIgnored,
    /// A vCPU on another processor is loaded as if it were on its last.
    LoadedElsewhere,
    /// A silent post notifies all the same.
    NotifiesInSilence,
    /// A vector that was taken is delivered twice.
    DeliversTwice,
    /// A vCPU that goes away is never dropped.
    LeaksVcpu,
}

impl SimFault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NoInvalidation,
        Self::UnpostableKeepsEntry,
        Self::EndKeepsEntries,
        Self::HostMoveOverwrites,
        Self::SleepsThroughWake,
        Self::WakeupIgnored,
        Self::LoadedElsewhere,
        Self::NotifiesInSilence,
        Self::DeliversTwice,
        Self::LeaksVcpu,
    ];
}

impl SimConfig {
    /// vCPUs of all VMs.
    #[must_use]
    pub const fn vcpus(&self) -> u32 {
        self.vms * self.vcpus_per_vm
    }

    pub(super) fn has(&self, fault: SimFault) -> bool {
        self.fault == Some(fault)
    }
}
