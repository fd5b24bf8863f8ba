//! The ways an interrupt is measured on.

use std::fmt;

use serde::Serialize;
use serde::Serializer;

/// One way from a device's event to the guest's handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum LatencyPath {
    /// An irqfd made with one ioctl and no broker: the floor.
    RawIrqfd,
    /// A link of the broker's, promoted to an irqfd.
    Bypass,
    /// The barest forwarding loop there can be (poll, read, inject): the relay's floor.
    BareRelay,
    /// A link that the broker's relay forwards.
    Relay,
    /// `KVM_SIGNAL_MSI` straight from the device's thread.
    SignalMsi,
    /// A link of the broker's that posts, into a guest without local APICs in the kernel.
    Posted,
    /// The plainest way into such a guest, by a thread that reads an eventfd: posting's floor.
    Userspace,
}

impl LatencyPath {
    /// All of them, in the order of reports.
    pub(crate) const ALL: [Self; 7] = [
        Self::RawIrqfd,
        Self::Bypass,
        Self::BareRelay,
        Self::Relay,
        Self::SignalMsi,
        Self::Posted,
        Self::Userspace,
    ];

    /// The name scripts see.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::RawIrqfd => "raw-irqfd",
            Self::Bypass => "bypass",
            Self::BareRelay => "bare-relay",
            Self::Relay => "relay",
            Self::SignalMsi => "signal-msi",
            Self::Posted => "posted",
            Self::Userspace => "userspace",
        }
    }
}

impl fmt::Display for LatencyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for LatencyPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
