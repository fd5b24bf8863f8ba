//! Messages of the daemon that answer no request.

use serde::Deserialize;
use serde::Serialize;

use crate::code::ErrorCode;
use crate::delivery::Message;
use crate::event::Event;
use crate::instruction::Attach;
use crate::instruction::Detach;
use crate::instruction::Switch;
use crate::name::Name;
use crate::object::Side;

/// A message of the daemon that answers no request. A client ignores notices it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", content = "body", rename_all = "kebab-case")]
pub enum Notice {
    /// To a consumer, with the producer's eventfd.
    Attach(Attach),
    /// To a consumer.
    Detach(Detach),
    /// To a producer, with the consumer's eventfd unless it goes back.
    Switch(Switch),
    /// To either side: there is a partner, or no longer. A level producer gets the consumer's
    /// resample event with it.
    Paired(Paired),
    /// To a producer with a mask: the consumer was masked or unmasked.
    MaskSource(MaskSource),
    /// To a producer: the consumer's message is another.
    MessageChanged(MessageChanged),
    /// To a producer: where its interrupt is best handled.
    Hint(Hint),
    /// To whoever watches.
    Event(Event),
    /// The last message of a connection.
    Closing(Closing),
}

/// There is a partner, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paired {
    /// Which of the connection's objects is meant.
    pub side: Side,
    /// Its name.
    pub name: Name,
    /// The partner's name; none where it has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<Name>,
    /// The packet carries the consumer's resample event, by which a level producer unmasks.
    #[serde(default)]
    pub resample: bool,
}

/// The consumer was masked or unmasked. Nothing has to be done: events wait in the eventfd either
/// way, and a source that is masked too saves writing them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskSource {
    /// The producer.
    pub producer: Name,
    /// Whether it is masked now.
    pub masked: bool,
}

/// The consumer's message is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageChanged {
    /// The producer.
    pub producer: Name,
    /// The message.
    pub message: Message,
}

/// Where a producer's interrupt is best handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// The producer.
    pub producer: Name,
    /// Host processors.
    pub affinity: Vec<u32>,
}

/// The last message of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Why.
    pub code: ErrorCode,
    /// The same for a person.
    pub text: String,
}
