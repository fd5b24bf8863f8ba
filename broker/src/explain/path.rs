//! An answer about one link.

use std::fmt;

use irqbroker_core::DeliveryState;
use irqbroker_core::Reason;
use posted_irq::NotPosted;

use super::HostLacks;
use super::Remedy;

/// How sure an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Whoever does it says so: the registry of its links, the kernel of its own parameter or table.
    Told,
    /// It follows from what the kernel's code takes for it.
    Inferred,
}

impl Evidence {
    /// The name scripts see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Inferred => "inferred",
        }
    }

    /// Of two facts that an answer rests on.
    pub(super) const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Told, Self::Told) => Self::Told,
            _ => Self::Inferred,
        }
    }
}

/// The way a link's interrupts take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InterruptPath {
    /// Nowhere: they wait in the eventfd, or at their source.
    Waiting,
    /// Through the relay in user space.
    Relay,
    /// Through a descriptor of ours.
    Posted,
    /// Through the kernel, which makes what of them it can.
    Bypass(KernelDelivery),
}

/// What the kernel makes of a bypassed link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KernelDelivery {
    /// The device posts into the running guest; no processor of the host is interrupted for it.
    Posted,
    /// The device interrupts the host, whose handler injects.
    ThroughHost,
    /// One of the two.
    Unknown,
}

/// Why a path is not a better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WhyNot {
    /// As the registry says.
    Registry(Reason),
    /// No device of the host's is behind the producer, so that there is nothing to post.
    NoDevice,
    /// The kernel posts no message like this one.
    Route(NotPosted),
    /// The host lacks what it takes.
    Host(HostLacks),
    /// The remapping table shows no entry that posts it, though nothing is in the way: the kernel has
    /// not connected the two, and tells nobody.
    NotConnected,
    /// What the host shows does not tell.
    Unknown,
}

/// Which way a link's interrupts take, why not a better one, and what would change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathAnswer {
    /// The way.
    pub path: InterruptPath,
    /// How sure that is.
    pub evidence: Evidence,
    /// Why not a better one; none for the best.
    pub why_not: Option<WhyNot>,
    /// What would change that, if something would.
    pub remedy: Option<Remedy>,
}

impl InterruptPath {
    /// The name scripts see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Relay => DeliveryState::Relay.as_str(),
            Self::Posted => DeliveryState::Posted.as_str(),
            Self::Bypass(KernelDelivery::Posted) => "bypass, posted by the kernel",
            Self::Bypass(KernelDelivery::ThroughHost) => "bypass, through the host",
            Self::Bypass(KernelDelivery::Unknown) => "bypass, posted or through the host",
        }
    }
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reason) => reason.fmt(f),
            Self::NoDevice => f.write_str("no device of the host's is behind it"),
            Self::Route(reason) => reason.fmt(f),
            Self::Host(lacks) => lacks.fmt(f),
            Self::NotConnected => f.write_str("the kernel has not connected device and irqfd"),
            Self::Unknown => f.write_str("the host does not show it"),
        }
    }
}

impl fmt::Display for PathAnswer {
    /// One line: `bypass, through the host (inferred): no iommu posts; ask for ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path.as_str())?;
        if self.evidence == Evidence::Inferred {
            write!(f, " ({})", self.evidence.as_str())?;
        }
        if let Some(why) = self.why_not {
            write!(f, ": {why}")?;
        }
        if let Some(remedy) = self.remedy {
            write!(f, "; to change it, {remedy}")?;
        }
        Ok(())
    }
}
