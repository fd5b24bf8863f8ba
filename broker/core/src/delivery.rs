//! The delivery state of a link, and why it is not a better one.

use std::fmt;

use crate::ids::Gsi;

/// How a link's interrupts travel right now. Every link is in exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// One side is missing; events stay in the eventfd.
    Unmatched,
    /// Masked; events stay in the eventfd (or, for an in-process producer, with the producer).
    Masked,
    /// User space forwards.
    Relay,
    /// The kernel delivers; no user-space instruction is in the path.
    Bypass,
    /// Delivered through a posted-interrupt descriptor of ours.
    Posted,
}

impl DeliveryState {
    /// The name scripts see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unmatched => "unmatched",
            Self::Masked => "masked",
            Self::Relay => "relay",
            Self::Bypass => "bypass",
            Self::Posted => "posted",
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a link is not in a better state than it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is in the best state there is.
    Best,
    /// No producer has registered this token.
    NoProducer,
    /// No consumer has registered this token.
    NoConsumer,
    /// The two sides met, and one refused the other.
    ConnectRefused,
    /// The guest, or the embedder for it, masked the interrupt.
    Masked,
    /// The embedder asked for the relay.
    RelayRequested,
    /// It came too often: the relay passes on so many a second, and what comes between merges.
    Storm {
        /// Interrupts a second that are let through.
        limit: u32,
    },
    /// The guest does not end the line's interrupt.
    NoEoi,
    /// The line is asserted again right after every EOI.
    LineStuck,
    /// Its route has gone to one that fires more often, as long as all GSIs are taken.
    Outpaced {
        /// Entries the table can have.
        limit: u32,
    },
    /// The next promotion takes it to the kernel.
    PromotionPending,
    /// A hold keeps promotions back. The relay has not taken the link up for the meantime: events
    /// wait in the eventfd until the hold ends.
    Held,
    /// The consumer lives in user space.
    UserSpaceConsumer,
    /// The producer signals an eventfd, which the relay claims to post.
    EventfdFed,
    /// The remapping entry is the host's again, since the message cannot be posted: what the device
    /// sends reaches user space, which makes the interrupt itself.
    HostEntry(Unpostable),
    /// The guest's remapping tables are asked with the next interrupt: they had no translation, or
    /// the guest has invalidated it.
    Untranslated,
    /// The VM has no in-kernel irqchip, so the kernel cannot inject.
    NoInKernelIrqchip,
    /// The kernel lacks irqfd.
    NoIrqfd,
    /// Level interrupts need a full in-kernel irqchip for resample.
    NoResample,
    /// All GSIs of the VM's routing table are taken.
    GsiExhausted {
        /// Entries the table can have.
        limit: u32,
    },
    /// The message needs a device id, and none was given or the kernel takes none.
    NoDeviceId,
    /// The kernel refused the routing table with this link's route in it.
    RouteRefused {
        /// The GSI the route was for.
        gsi: Gsi,
        /// The kernel's error number.
        errno: i32,
    },
    /// The kernel refused to bind the eventfd.
    AttachRefused {
        /// The GSI it was to be bound to.
        gsi: Gsi,
        /// The kernel's error number; 16 (EBUSY) says that another irqfd holds the eventfd.
        errno: i32,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => f.write_str("best path"),
            Self::NoProducer => f.write_str("no producer has this token"),
            Self::NoConsumer => f.write_str("no consumer has this token"),
            Self::ConnectRefused => f.write_str("one side refused the other"),
            Self::Masked => f.write_str("masked"),
            Self::RelayRequested => f.write_str("relay requested"),
            Self::Storm { limit } => {
                write!(f, "a storm, held down to {limit} interrupts a second")
            }
            Self::NoEoi => f.write_str("the guest does not end its interrupt"),
            Self::LineStuck => f.write_str("asserted again right after every eoi"),
            Self::Outpaced { limit } => {
                write!(f, "all {limit} gsis are taken by busier interrupts")
            }
            Self::PromotionPending => f.write_str("waits for the next promotion"),
            Self::Held => f.write_str("waits for the end of a hold"),
            Self::UserSpaceConsumer => f.write_str("the consumer lives in user space"),
            Self::EventfdFed => f.write_str("the relay claims an eventfd and posts"),
            Self::HostEntry(why) => write!(f, "the message cannot be posted: {why}"),
            Self::Untranslated => f.write_str("translated anew with the next interrupt"),
            Self::NoInKernelIrqchip => f.write_str("the vm has no in-kernel irqchip"),
            Self::NoIrqfd => f.write_str("the kernel lacks irqfd"),
            Self::NoResample => f.write_str("level interrupts need a full in-kernel irqchip"),
            Self::GsiExhausted { limit } => write!(f, "all {limit} gsis are taken"),
            Self::NoDeviceId => f.write_str("the message lacks a usable device id"),
            Self::RouteRefused { gsi, errno } => {
                write!(
                    f,
                    "the kernel refused the route of gsi {gsi} (errno {errno})"
                )
            }
            Self::AttachRefused { gsi, errno } => {
                write!(
                    f,
                    "the kernel refused the irqfd on gsi {gsi} (errno {errno})"
                )
            }
        }
    }
}

/// What keeps a message from being posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unpostable {
    /// Its delivery mode is neither fixed nor lowest priority.
    DeliveryMode(u8),
    /// Its vector is one of the first sixteen.
    IllegalVector(u8),
    /// It reaches no vCPU.
    NoVcpu,
    /// It reaches several, and none is to be chosen.
    SeveralVcpus,
}

impl fmt::Display for Unpostable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeliveryMode(mode) => write!(f, "delivery mode {mode}"),
            Self::IllegalVector(vector) => write!(f, "illegal vector {vector}"),
            Self::NoVcpu => f.write_str("it reaches no vcpu"),
            Self::SeveralVcpus => f.write_str("it reaches several vcpus"),
        }
    }
}

/// A delivery state with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// How interrupts travel.
    pub state: DeliveryState,
    /// Why not on a better way.
    pub reason: Reason,
}
