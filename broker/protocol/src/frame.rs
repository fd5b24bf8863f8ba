//! The envelope around requests, responses and notices.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::batch::UsualBatch;
use crate::code::ErrorCode;
use crate::code::WireError;
use crate::json;
use crate::notice::Notice;
use crate::request::Body;
use crate::request::Request;
use crate::unread::UnreadInstruction;

/// A packet that may be a batch worth reading in one pass.
const LONG_PACKET: usize = 512;

/// A request with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFrame {
    /// Echoed in the response; the client's choice.
    pub id: u64,
    /// Whether it is a handshake, well said or not.
    pub is_hello: bool,
    /// What is asked, or why that cannot be read.
    pub request: Result<Request, WireError>,
}

/// What a client sends, on its way.
#[derive(Debug, Serialize)]
pub struct ClientFrame<'a> {
    id: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    body: Body<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    id: u64,
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow, default, deserialize_with = "json::there")]
    body: Option<&'a RawValue>,
}

/// A batch as clients write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsualFrame<'a> {
    id: u64,
    #[serde(rename = "type")]
    kind: &'a str,
    body: UsualBatch,
}

/// The body of an answer, not read yet.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct AnswerBody(Box<RawValue>);

/// What the daemon sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFrame {
    /// It answers a request.
    Response {
        /// The request's number.
        id: u64,
        /// The answer's body, or the refusal.
        result: Result<AnswerBody, WireError>,
    },
    /// It answers none.
    Notice(Notice),
    /// An instruction this crate cannot read: it is to be declined all the same.
    Unread(UnreadInstruction),
    /// Another notice this crate does not know, to be ignored.
    Unknown,
}

#[derive(Deserialize)]
struct AnyServerFrame {
    id: Option<u64>,
    ok: Option<AnswerBody>,
    error: Option<WireError>,
}

#[derive(Serialize)]
struct OkFrame<'a, T> {
    id: u64,
    ok: &'a T,
}

#[derive(Serialize)]
struct ErrorFrame<'a> {
    id: u64,
    error: &'a WireError,
}

impl RequestFrame {
    /// Reads a packet.
    ///
    /// # Errors
    ///
    /// `malformed-message`: it is no envelope, so there is no number to answer under.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        match decode_batch(packet) {
            Some(frame) => Ok(frame),
            None => Self::decode_any(packet),
        }
    }

    fn decode_any(packet: &[u8]) -> Result<Self, WireError> {
        let malformed = |why: &dyn fmt::Display| {
            WireError::new(ErrorCode::MalformedMessage, format!("no request: {why}"))
        };
        let envelope: Envelope<'_> =
            serde_json::from_slice(packet).map_err(|error| malformed(&error))?;
        let body = envelope.body.map(RawValue::get);
        if !json::is_object(packet) || !body.is_none_or(|body| json::is_object(body.as_bytes())) {
            return Err(malformed(&"no JSON object"));
        }
        Ok(Self {
            id: envelope.id,
            is_hello: envelope.kind == "hello",
            request: Request::decode(&envelope.kind, envelope.body),
        })
    }
}

/// Reads a long batch in one pass, where there is nothing unusual about it.
fn decode_batch(packet: &[u8]) -> Option<RequestFrame> {
    if packet.len() < LONG_PACKET || !json::has_one_list(packet) {
        return None;
    }
    let frame: UsualFrame<'_> = serde_json::from_slice(packet).ok()?;
    (frame.kind == "batch").then(|| RequestFrame {
        id: frame.id,
        is_hello: false,
        request: Ok(Request::Batch(frame.body.into())),
    })
}

impl<'a> ClientFrame<'a> {
    /// A request on its way.
    ///
    /// # Errors
    ///
    /// Only what `serde_json` cannot write, which no request holds.
    pub fn encode(id: u64, request: &'a Request) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Self {
            id,
            kind: request.kind(),
            body: Body(request),
        })
    }
}

impl AnswerBody {
    /// Reads it as the answer that is expected.
    ///
    /// # Errors
    ///
    /// It is another.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0.get())
    }
}

impl PartialEq for AnswerBody {
    /// As they travel, byte by byte.
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for AnswerBody {}

impl ServerFrame {
    /// An answer on its way.
    ///
    /// # Errors
    ///
    /// What `serde_json` cannot write.
    pub fn encode_ok(id: u64, body: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&OkFrame { id, ok: body })
    }

    /// A refusal on its way.
    ///
    /// # Errors
    ///
    /// What `serde_json` cannot write.
    pub fn encode_error(id: u64, error: &WireError) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&ErrorFrame { id, error })
    }

    /// A notice on its way.
    ///
    /// # Errors
    ///
    /// What `serde_json` cannot write.
    pub fn encode_notice(notice: &Notice) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(notice)
    }

    /// Reads a packet of the daemon.
    ///
    /// # Errors
    ///
    /// It is neither a response nor a notice.
    pub fn decode(packet: &[u8]) -> Result<Self, serde_json::Error> {
        let any: AnyServerFrame = serde_json::from_slice(packet)?;
        Ok(match any {
            AnyServerFrame {
                id: Some(id),
                error: Some(error),
                ..
            } => Self::Response {
                id,
                result: Err(error),
            },
            AnyServerFrame {
                id: Some(id),
                ok: Some(body),
                ..
            } => Self::Response {
                id,
                result: Ok(body),
            },
            AnyServerFrame { id: Some(id), .. } => Self::Response {
                id,
                result: Ok(AnswerBody(RawValue::NULL.to_owned())),
            },
            AnyServerFrame { id: None, .. } => match serde_json::from_slice(packet) {
                Ok(notice) => Self::Notice(notice),
                Err(_) => UnreadInstruction::decode(packet).map_or(Self::Unknown, Self::Unread),
            },
        })
    }
}

#[cfg(test)]
mod later_tests;
#[cfg(test)]
mod tests;
