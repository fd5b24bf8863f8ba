//! Producers and consumers, as a connection registers them.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use crate::delivery::Message;
use crate::delivery::Reason;
use crate::delivery::Route;
use crate::delivery::State;
use crate::name::Name;
use crate::strict;

/// Whether a field says what it says when it is left out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One of the two halves of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The half that signals an eventfd.
    Producer,
    /// The half that takes the events.
    Consumer,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        })
    }
}

/// How a line signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// Each event counts; events that meet a pending one merge with it.
    #[default]
    Edge,
    /// Asserted until the device is served; needs a consumer with a resample event.
    Level,
}

/// Whether a producer can be kept from signalling its eventfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Masking {
    /// Not at the source.
    #[default]
    None,
    /// By the producer's process.
    InProcess,
    /// By the device.
    Device,
}

/// Whether a producer can be told to signal another eventfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProducerSwitch {
    /// It keeps its eventfd.
    #[default]
    Never,
    /// It masks its source, changes the eventfd, moves what stands in the old one, unmasks.
    Masked,
}

/// What a consumer can do with interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsumerTakes {
    /// It follows [`Attach`](crate::Attach): binds an irqfd to the producer's own eventfd.
    Attach,
    /// Its own eventfd is bound to an irqfd; it binds no other.
    OwnIrqfd,
    /// It reads its eventfd itself.
    #[default]
    OwnRead,
}

/// Registers a producer. The packet carries its eventfd, and after it, where
/// [`switched`](Self::switched) is set, the eventfd it signals at present.
///
/// The same request again on the same connection, or under the same name after a reconnect, finds
/// the producer as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterProducer {
    /// Its name, one of a kind among producers.
    pub name: Name,
    /// The link it belongs to; without it the equal eventfd pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Name>,
    /// What the client's own fdinfo shows as `eventfd-id`: saves the daemon a look of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<u64>,
    /// Edge or level.
    #[serde(default, skip_serializing_if = "is_default")]
    pub trigger: Trigger,
    /// The source masks itself with each event.
    #[serde(default, skip_serializing_if = "is_default")]
    pub automasked: bool,
    /// Whether it can be masked at the source.
    #[serde(default, skip_serializing_if = "is_default")]
    pub masking: Masking,
    /// Whether it can be told to signal another eventfd.
    #[serde(default, skip_serializing_if = "is_default")]
    pub switch: ProducerSwitch,
    /// Requester id of a PCI function: bus in bits 15:8, device in 7:3, function in 2:0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<u16>,
    /// The host's interrupt behind the events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_irq: Option<u32>,
    /// The message the device was programmed with.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::message"
    )]
    pub message: Option<Message>,
    /// It has followed a [`Switch`](crate::Switch) and signals the second fd of the packet.
    #[serde(default, skip_serializing_if = "is_default")]
    pub switched: bool,
}

impl RegisterProducer {
    /// An edge producer that is paired by its eventfd.
    #[must_use]
    pub fn edge(name: Name) -> Self {
        Self {
            name,
            link: None,
            event_id: None,
            trigger: Trigger::Edge,
            automasked: false,
            masking: Masking::None,
            switch: ProducerSwitch::Never,
            source_id: None,
            host_irq: None,
            message: None,
            switched: false,
        }
    }
}

/// Registers a consumer. The packet carries its eventfd; after it, where set, the
/// [`resample`](Self::resample) event, and then the eventfd it is [`attached`](Self::attached) to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterConsumer {
    /// Its name, one of a kind among consumers.
    pub name: Name,
    /// The link it belongs to; without it the equal eventfd pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Name>,
    /// As with a producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<u64>,
    /// What it can do with interrupts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub takes: ConsumerTakes,
    /// Where they go.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::route"
    )]
    pub route: Option<Route>,
    /// It gives an eventfd that is signalled at the guest's EOI.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resample: bool,
    /// It is bound to a producer's eventfd, by an instruction of an earlier daemon.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attached: bool,
    /// It is masked.
    #[serde(default, skip_serializing_if = "is_default")]
    pub masked: bool,
    /// Its place in the claim record, from an earlier [`Registered`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
}

impl RegisterConsumer {
    /// A consumer that reads its eventfd itself and is paired by it.
    #[must_use]
    pub fn reading(name: Name) -> Self {
        Self {
            name,
            link: None,
            event_id: None,
            takes: ConsumerTakes::OwnRead,
            route: None,
            resample: false,
            attached: false,
            masked: false,
            slot: None,
        }
    }
}

/// Answer to a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The link the object belongs to, matched or not.
    pub link: u64,
    /// The kernel's number of the eventfd.
    pub event_id: u64,
    /// A consumer's place in the claim record, to be given again after a reconnect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
}

/// Withdraws what the connection registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unregister {
    /// Which side.
    pub side: Side,
    /// Its name.
    pub name: Name,
}

/// What has become of a consumer's interrupts, when that changes on the consumer's side: a mask, a
/// new message, a wish where the events should be handled. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerReport {
    /// The consumer's name.
    pub name: Name,
    /// It is masked, or no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked: Option<bool>,
    /// While attached: how its own process delivers, `bypass`, `relay` or `posted`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::state"
    )]
    pub state: Option<State>,
    /// Why not better; goes with `state`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::some_reason"
    )]
    pub reason: Option<Reason>,
    /// Where the interrupts go now.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::route"
    )]
    pub route: Option<Route>,
    /// Host processors on which the producer's interrupt is best handled, at most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Vec<u32>>,
}
