//! An instruction of a later daemon.

use serde::Deserialize;
use serde_json::Value;

use crate::instruction::InstructionId;
use crate::name::Name;

/// An instruction this crate does not know, or that lacks what it should have. It waits for an
/// answer all the same: until then nobody may take the events it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadInstruction {
    /// To be named in the answer.
    pub instruction: InstructionId,
    /// The notice's name.
    pub notice: String,
    /// The consumer it is for, if it names one.
    pub consumer: Option<Name>,
}

#[derive(Deserialize)]
struct AnyNotice {
    notice: String,
    body: Value,
}

impl UnreadInstruction {
    /// Reads what there is; `None` where no answer is waited for.
    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        let AnyNotice { notice, body } = serde_json::from_slice(packet).ok()?;
        let instruction = body.get("instruction")?.as_u64()?;
        let consumer = body.get("consumer").and_then(Value::as_str);
        Some(Self {
            instruction: InstructionId(instruction),
            notice,
            consumer: consumer.and_then(|name| Name::new(name).ok()),
        })
    }

    /// Whether it may be declined; the connection is to be closed where it may not.
    #[must_use]
    pub fn may_be_declined(&self) -> bool {
        self.notice != "detach"
    }
}
