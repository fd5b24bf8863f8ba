//! The envelope around requests, responses and notices.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::code::ErrorCode;
use crate::code::WireError;
use crate::json;
use crate::notice::Notice;
use crate::request::Request;

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
    kind: &'a str,
    body: Value,
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

/// What the daemon sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFrame {
    /// It answers a request.
    Response {
        /// The request's number.
        id: u64,
        /// The answer's body, or the refusal.
        result: Result<Value, WireError>,
    },
    /// It answers none.
    Notice(Notice),
    /// A notice this crate does not know, to be ignored.
    Unknown,
}

#[derive(Deserialize)]
struct AnyServerFrame {
    id: Option<u64>,
    ok: Option<Value>,
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

impl<'a> ClientFrame<'a> {
    /// A request on its way.
    ///
    /// # Errors
    ///
    /// See [`Request::body`].
    pub fn encode(id: u64, request: &'a Request) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Self {
            id,
            kind: request.kind(),
            body: request.body()?,
        })
    }
}

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
                id: Some(id), ok, ..
            } => Self::Response {
                id,
                result: Ok(ok.unwrap_or(Value::Null)),
            },
            AnyServerFrame { id: None, .. } => match serde_json::from_slice(packet) {
                Ok(notice) => Self::Notice(notice),
                Err(_) => Self::Unknown,
            },
        })
    }
}

#[cfg(test)]
mod tests;
