//! What the daemon tells the owner of a side to do, and the owner's answer.

use serde::Deserialize;
use serde::Serialize;

use crate::delivery::Reason;
use crate::delivery::State;
use crate::name::Name;
use crate::object::Trigger;
use crate::strict;

/// The number of an instruction, of its connection's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstructionId(pub u64);

/// To a consumer: bind an irqfd to the eventfd that comes with this, in place of your own. Until
/// the answer nobody claims what stands in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// To be named in the answer.
    pub instruction: InstructionId,
    /// The consumer.
    pub consumer: Name,
    /// The producer's name.
    pub producer: Name,
    /// Edge or level.
    pub trigger: Trigger,
    /// The source masks itself with each event.
    pub automasked: bool,
    /// Requester id of the producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<u16>,
    /// The host's interrupt behind the events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_irq: Option<u32>,
}

/// To a consumer: unbind the producer's eventfd and take your own again. What stands in the
/// producer's eventfd stays there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detach {
    /// To be named in the answer.
    pub instruction: InstructionId,
    /// The consumer.
    pub consumer: Name,
}

/// To a producer: mask the source, signal another eventfd from now on, move what stands in the old
/// one to the new one, unmask. With [`back`](Self::back) the new one is the producer's own, and no
/// fd comes with this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// To be named in the answer.
    pub instruction: InstructionId,
    /// The producer.
    pub producer: Name,
    /// To the producer's own eventfd again.
    pub back: bool,
}

/// What came of an instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// It is done. For an attach: how the consumer's process delivers now.
    Done {
        /// `bypass`, `relay` or `posted`.
        #[serde(deserialize_with = "strict::known")]
        state: State,
        /// Why not better.
        #[serde(deserialize_with = "strict::reason")]
        reason: Reason,
    },
    /// Nothing was changed.
    Declined {
        /// Why.
        #[serde(deserialize_with = "strict::reason")]
        reason: Reason,
    },
}

/// The owner's answer to an instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Which one.
    pub instruction: InstructionId,
    /// What came of it.
    pub outcome: Outcome,
}
