//! What a producer and a consumer tell each other, the same for PCI and platform.
//!
//! In the kernel's discussion this exchange was the hard part of pairing interrupts in general.
//! Here it is two plain types: [`ProducerInfo`] goes to the consumer before it accepts the
//! producer, [`ConsumerInfo`] is the consumer's answer and goes to the producer.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::delivery::Reason;
use crate::ids::DeviceId;
use crate::ids::Gsi;
use crate::ids::HostIrq;
use crate::ids::Rid;

/// How a line signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// Each event counts; events that meet a pending one merge with it.
    Edge,
    /// Asserted until the device is served; needs to hear of the guest's EOI (resample).
    Level,
}

/// Whether, and at what cost, a producer can be kept from signalling its eventfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Masking {
    /// Not at the source (VFIO MSI and MSI-X): masked by detaching the consumer.
    None,
    /// A producer in this process: two memory accesses, no system call.
    InProcess,
    /// The device's own mask (VFIO INTx and platform level): one system call.
    Device,
}

/// The message a device writes to raise an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MsiMessage {
    /// Where the device writes: `0xfee0_0000`-`0xfeef_ffff` and an upper half on x86, the ITS
    /// doorbell on arm64.
    pub address: u64,
    /// What it writes; on x86 the vector in bits 7:0 and the delivery mode in 10:8.
    pub data: u32,
}

/// What a producer tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerInfo {
    /// Edge or level.
    pub trigger: Trigger,
    /// The source masks itself with each event and stays masked until told otherwise.
    pub automasked: bool,
    /// Whether it can be masked at the source.
    pub masking: Masking,
    /// Requester id, for producers that have one (PCI).
    pub source_id: Option<Rid>,
    /// The host's interrupt behind the events, if there is one and it is known.
    pub host_irq: Option<HostIrq>,
    /// The message the device was programmed with, if there is one and it is known.
    pub message: Option<MsiMessage>,
}

impl ProducerInfo {
    /// A message-signalled or other edge interrupt that cannot be masked at the source.
    #[must_use]
    pub const fn edge() -> Self {
        Self {
            trigger: Trigger::Edge,
            automasked: false,
            masking: Masking::None,
            source_id: None,
            host_irq: None,
            message: None,
        }
    }

    /// A level interrupt that masks itself at the device with each event (INTx, platform level).
    #[must_use]
    pub const fn automasked_level() -> Self {
        Self {
            trigger: Trigger::Level,
            automasked: true,
            masking: Masking::Device,
            source_id: None,
            host_irq: None,
            message: None,
        }
    }
}

/// How a consumer will deliver what a producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivers {
    /// The kernel can, once a route is live.
    Bypass,
    /// Through a posted-interrupt descriptor: called by the producer itself if it is in this process
    /// ([`Direct`](crate::Direct)), otherwise by the relay.
    Posted,
    /// Only through user space, for the reason given.
    Relay(Reason),
}

/// A consumer's answer to a [`ProducerInfo`].
#[derive(Debug, Clone)]
pub struct ConsumerInfo {
    /// How it will deliver.
    pub delivers: Delivers,
    /// Signalled when the guest has served a level interrupt (EOI). A producer that can take it
    /// as its unmask event binds it; otherwise the relay listens to it and calls
    /// [`Mask::unmask`](crate::Mask::unmask).
    pub resample: Option<ResampleEvent>,
    /// The message has to carry a device id (arm64 ITS).
    pub device_id: Option<DeviceId>,
}

/// The eventfd on which a consumer reports the guest's EOI.
#[derive(Debug, Clone)]
pub struct ResampleEvent(Arc<OwnedFd>);

impl ResampleEvent {
    /// Wraps a non-blocking, non-semaphore eventfd.
    #[must_use]
    pub fn new(event: Arc<OwnedFd>) -> Self {
        Self(event)
    }
}

impl AsFd for ResampleEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Where a consumer's interrupts go, as it stands in snapshots and events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteInfo {
    /// A message; the GSI is there once the message has a place in the routing table.
    Msi {
        /// Place in the routing table.
        gsi: Option<Gsi>,
        /// The message.
        message: MsiMessage,
    },
    /// A pin of an interrupt controller.
    Pin {
        /// The pin's GSI.
        gsi: Gsi,
    },
}

impl RouteInfo {
    /// Its place in the routing table, if it has one.
    #[must_use]
    pub const fn gsi(&self) -> Option<Gsi> {
        match self {
            Self::Msi { gsi, .. } => *gsi,
            Self::Pin { gsi } => Some(*gsi),
        }
    }
}
