//! What works on this host, all answers taken together.

use std::fmt;

use serde::Serialize;

use super::check::Check;
use super::check::Status;
use super::devices;
use super::events;
use super::kvm;
use super::posting;

/// Whether something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Works {
    /// Everything it needs was found.
    Yes,
    /// Something it needs is missing or denied.
    No,
    /// Something it needs could not be asked for.
    Unknown,
}

/// What works on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// The kernel can deliver edge interrupts without user space.
    pub(crate) bypass: Works,
    /// The same for level interrupts.
    pub(crate) level_bypass: Works,
    /// User space can forward interrupts to a guest.
    pub(crate) relay: Works,
    /// Devices can be assigned.
    pub(crate) vfio: Works,
    /// The kernel can post an assigned device's interrupts; inferred where it does not say so.
    pub(crate) kernel_posting: Works,
}

impl Verdict {
    /// Judges the checks.
    pub(crate) fn of(checks: &[Check]) -> Self {
        let one = |name: &str| {
            let check = checks.iter().find(|check| check.name == name);
            Works::of(check.map(|check| check.status))
        };
        let guest = one(kvm::NODE).and(one(kvm::API));
        let irqchip = one(kvm::FULL_IRQCHIP).or(one(kvm::SPLIT_IRQCHIP));
        let irqfd = guest.and(one(events::ID)).and(one(kvm::IRQFD));
        let remapped = one(posting::REMAPPING).and(one(posting::IOMMU));
        let by_node = one(devices::IOMMUFD).and(one(devices::DEVICE_NODES));
        let vfio = one(devices::CONTAINER).or(by_node);
        Self {
            bypass: irqfd.and(irqchip).and(one(kvm::IRQ_ROUTING)),
            level_bypass: irqfd
                .and(one(kvm::FULL_IRQCHIP))
                .and(one(kvm::RESAMPLE_IRQFD)),
            relay: guest.and(one(events::ID)).and(one(kvm::SIGNAL_MSI)),
            vfio,
            kernel_posting: match one(posting::DEVICE_POSTING) {
                Works::No => Works::No,
                // The kernel has looked at the rest.
                Works::Yes => vfio,
                Works::Unknown => vfio.and(one(posting::APIC)).and(remapped),
            },
        }
    }
}

impl Works {
    fn of(status: Option<Status>) -> Self {
        match status {
            Some(Status::Found) => Self::Yes,
            Some(Status::Missing | Status::Denied) => Self::No,
            Some(Status::Unknown) | None => Self::Unknown,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::No, Self::No) => Self::No,
        }
    }
}

impl fmt::Display for Works {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bypass: {}; level bypass: {}; relay: {}; vfio: {}; kernel posting (inferred): {}",
            self.bypass, self.level_bypass, self.relay, self.vfio, self.kernel_posting
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Works; 3] = [Works::Yes, Works::No, Works::Unknown];

    #[test]
    fn and_is_no_if_either_is_and_yes_if_both_are() {
        for a in ALL {
            assert_eq!(a.and(Works::No), Works::No);
            assert_eq!(a.and(Works::Yes), a);
            assert_eq!(Works::Unknown.and(a) == Works::No, a == Works::No);
        }
    }

    #[test]
    fn or_is_yes_if_either_is_and_no_if_both_are() {
        for a in ALL {
            assert_eq!(a.or(Works::Yes), Works::Yes);
            assert_eq!(a.or(Works::No), a);
            assert_eq!(Works::Unknown.or(a) == Works::Yes, a == Works::Yes);
        }
    }
}
