//! How a link's interrupts travel, why not better, and where they go.

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::IgnoredAny;

/// The delivery state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// One side is missing; events stay in the producer's eventfd.
    Unmatched,
    /// Masked by the consumer; events stay in the eventfd.
    Masked,
    /// User space forwards: the daemon, or the consumer's own process.
    Relay,
    /// The kernel delivers.
    Bypass,
    /// Delivered through a posted-interrupt descriptor of the consumer's.
    Posted,
    /// One that a later daemon knows; only clients meet it.
    #[serde(other)]
    Other,
}

impl State {
    /// As it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unmatched => "unmatched",
            Self::Masked => "masked",
            Self::Relay => "relay",
            Self::Bypass => "bypass",
            Self::Posted => "posted",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a link is not in a better state: what a program decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonCode {
    /// It is in the best state there is.
    Best,
    /// No producer has registered.
    NoProducer,
    /// No consumer has registered.
    NoConsumer,
    /// The two sides met, and one refused the other.
    ConnectRefused,
    /// The guest, or the VMM for it, masked the interrupt.
    Masked,
    /// An operator asked for the relay.
    RelayRequested,
    /// The VMM limits a storm.
    Storm,
    /// The guest does not end the line's interrupt.
    NoEoi,
    /// The line is asserted again right after every EOI.
    LineStuck,
    /// Its route has gone to one that fires more often.
    Outpaced,
    /// An instruction to take a better path is under way.
    PromotionPending,
    /// Events wait until the consumer has answered an instruction; or the VMM holds promotions back.
    Held,
    /// The consumer reads its eventfd in user space.
    UserSpaceConsumer,
    /// The relay claims an eventfd to post.
    EventfdFed,
    /// The message cannot be posted: its remapping entry is the host's.
    HostEntry,
    /// The guest's remapping tables are asked with the next interrupt.
    Untranslated,
    /// The VM has no in-kernel irqchip.
    NoInKernelIrqchip,
    /// The kernel lacks irqfd.
    NoIrqfd,
    /// Level interrupts need a full in-kernel irqchip.
    NoResample,
    /// All GSIs of the VM are taken.
    GsiExhausted,
    /// The message needs a device id.
    NoDeviceId,
    /// The kernel refused the routing table.
    RouteRefused,
    /// The kernel refused the irqfd.
    AttachRefused,
    /// The consumer takes only its own eventfd, and the producer cannot be switched to it.
    SourceCannotSwitch,
    /// The consumer's process declined, and gave no better reason.
    Declined,
    /// One that a later daemon knows; only clients meet it.
    #[serde(other)]
    Other,
}

/// Why a link is not in a better state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What a program decides by.
    pub code: ReasonCode,
    /// What a person reads. A daemon keeps at most 160 bytes of a peer's.
    pub text: String,
}

impl Reason {
    /// A reason with its text.
    pub fn new(code: ReasonCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }
}

/// A delivery state with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// How interrupts travel.
    pub state: State,
    /// Why not on a better way.
    pub reason: Reason,
}

/// A message-signalled interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Where the device writes.
    pub address: u64,
    /// What it writes.
    pub data: u32,
}

/// Where a consumer's interrupts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// A message; the GSI is there once the message has a place in the routing table.
    Msi {
        /// Place in the VM's routing table.
        #[serde(default)]
        gsi: Option<u32>,
        /// Where the device writes.
        address: u64,
        /// What it writes.
        data: u32,
    },
    /// A pin of an interrupt controller.
    Pin {
        /// The pin's GSI.
        gsi: u32,
    },
    /// A form that a later daemon knows; only the rows of clients have it.
    #[serde(skip_deserializing)]
    Other,
}

impl Route {
    /// As rows have it: a form that is not known here is [`Other`](Self::Other).
    pub(crate) fn of_a_row<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Self>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OfARow {
            Known(Route),
            Other(IgnoredAny),
        }
        Ok(Option::deserialize(json)?.map(|route| match route {
            OfARow::Known(route) => route,
            OfARow::Other(IgnoredAny) => Self::Other,
        }))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Msi {
                gsi: Some(gsi),
                address,
                data,
            } => write!(f, "gsi {gsi} msi {address:#x}/{data:#x}"),
            Self::Msi {
                gsi: None,
                address,
                data,
            } => write!(f, "msi {address:#x}/{data:#x}"),
            Self::Pin { gsi } => write!(f, "pin {gsi}"),
            Self::Other => f.write_str("other"),
        }
    }
}

/// Which ways an operator allows a link's interrupts to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathPolicy {
    /// The best there is.
    #[default]
    Auto,
    /// The daemon forwards.
    Relay,
    /// One that a later daemon knows; only clients meet it.
    #[serde(other)]
    Other,
}
