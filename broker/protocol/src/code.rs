//! Error codes, by which a client decides what to do.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

/// Why a request was refused, or a connection closed. A refused request changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The packet is no JSON object of the form the contract gives. The connection is closed.
    MalformedMessage,
    /// The packet is longer than the limit (`MSG_TRUNC`). The connection is closed.
    OversizedMessage,
    /// The handshake has not been done, or is done twice. The connection is closed.
    HandshakeExpected,
    /// The daemon speaks no version the client offers. The connection is closed.
    UnsupportedVersion,
    /// The peer's uid or gid is not on the allow-list. The connection is closed.
    NotAllowed,
    /// The connection lacks the scope for this, or may not have the scope it asks for.
    ScopeRequired,
    /// The daemon knows no such request.
    UnknownRequest,
    /// The body has a field the request does not know, lacks one, or holds a wrong value.
    InvalidField,
    /// The packet has more or fewer fds than the request speaks of.
    FdCount,
    /// A passed fd is no eventfd.
    NotEventfd,
    /// A passed fd is a semaphore eventfd, whose count comes one by one.
    SemaphoreEventfd,
    /// A passed memory is not the claim record the daemon hands out: size or seals differ.
    InvalidClaimRecord,
    /// An object of the same side and name is there already, and is another's.
    DuplicateName,
    /// The eventfd is registered on this side already.
    DuplicateToken,
    /// The link has a producer, or a consumer, already.
    LinkTaken,
    /// The two sides cannot be paired: level and no resample event.
    Mismatch,
    /// The connection has nothing of this name.
    UnknownName,
    /// There is no such link.
    UnknownLink,
    /// There is no such instruction, or it has been answered.
    UnknownInstruction,
    /// A quota of the peer's uid or of the connection is used up.
    QuotaExceeded,
    /// Too many messages a second: ask again later.
    RateExceeded,
    /// The peer did not read its messages and its backlog is full. The connection is closed.
    SlowReader,
    /// The daemon ends. The connection is closed; the client should connect again.
    ShuttingDown,
    /// The daemon does not do this, as it was started.
    NotSupported,
    /// There is no such vGPU type.
    UnknownVgpuType,
    /// There is no such vGPU.
    UnknownVgpu,
    /// A vGPU of this UUID is there already.
    DuplicateVgpu,
    /// The vGPU is in use.
    Busy,
    /// The daemon could not do it: out of fds or memory, a process that would not start.
    Internal,
    /// One that a later daemon knows; only clients meet it.
    #[serde(other)]
    Other,
}

impl ErrorCode {
    /// As it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedMessage => "malformed-message",
            Self::OversizedMessage => "oversized-message",
            Self::HandshakeExpected => "handshake-expected",
            Self::UnsupportedVersion => "unsupported-version",
            Self::NotAllowed => "not-allowed",
            Self::ScopeRequired => "scope-required",
            Self::UnknownRequest => "unknown-request",
            Self::InvalidField => "invalid-field",
            Self::FdCount => "fd-count",
            Self::NotEventfd => "not-eventfd",
            Self::SemaphoreEventfd => "semaphore-eventfd",
            Self::InvalidClaimRecord => "invalid-claim-record",
            Self::DuplicateName => "duplicate-name",
            Self::DuplicateToken => "duplicate-token",
            Self::LinkTaken => "link-taken",
            Self::Mismatch => "mismatch",
            Self::UnknownName => "unknown-name",
            Self::UnknownLink => "unknown-link",
            Self::UnknownInstruction => "unknown-instruction",
            Self::QuotaExceeded => "quota-exceeded",
            Self::RateExceeded => "rate-exceeded",
            Self::SlowReader => "slow-reader",
            Self::ShuttingDown => "shutting-down",
            Self::NotSupported => "not-supported",
            Self::UnknownVgpuType => "unknown-vgpu-type",
            Self::UnknownVgpu => "unknown-vgpu",
            Self::DuplicateVgpu => "duplicate-vgpu",
            Self::Busy => "busy",
            Self::Internal => "internal",
            Self::Other => "other",
        }
    }

    /// Whether the daemon closes the connection after it.
    #[must_use]
    pub const fn closes(self) -> bool {
        matches!(
            self,
            Self::MalformedMessage
                | Self::OversizedMessage
                | Self::HandshakeExpected
                | Self::UnsupportedVersion
                | Self::NotAllowed
                | Self::SlowReader
                | Self::ShuttingDown
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Bytes a refusal's text has at most.
pub const MAX_ERROR_TEXT: usize = 256;

/// A refusal as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {text}")]
pub struct WireError {
    /// What a program decides by.
    pub code: ErrorCode,
    /// What a person reads; lower case, one line, at most [`MAX_ERROR_TEXT`] bytes of a daemon's.
    pub text: String,
    /// Which request of a batch it was, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
}

impl WireError {
    /// A refusal outside a batch. What is too long of `text`, which may repeat what a peer sent, is
    /// left out.
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        let whole = |&end: &usize| text.is_char_boundary(end);
        let end = (0..=MAX_ERROR_TEXT.min(text.len())).rev().find(whole);
        text.truncate(end.unwrap_or(0));
        Self {
            code,
            text,
            index: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_an_error_is_cut_between_characters() {
        let text = "ä".repeat(MAX_ERROR_TEXT);
        let error = WireError::new(ErrorCode::InvalidField, text);
        assert_eq!(error.text, "ä".repeat(MAX_ERROR_TEXT / 2));
    }

    #[test]
    fn wire_form_and_text_of_a_code_are_the_same() {
        for code in [
            ErrorCode::MalformedMessage,
            ErrorCode::NotEventfd,
            ErrorCode::QuotaExceeded,
            ErrorCode::UnknownVgpuType,
        ] {
            let wire = serde_json::to_value(code).unwrap();
            assert_eq!(wire, code.as_str());
        }
    }
}
