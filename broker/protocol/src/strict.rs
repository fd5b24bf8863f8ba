//! What requests hold of the types that clients read too.
//!
//! A client reads whatever a later daemon says: it ignores a field it does not know, and takes a
//! value it does not know for `other`. The daemon refuses both. The types themselves are lenient;
//! the fields of requests are read by the functions here. The structs mirror the types field by
//! field: one that differs does not compile.

use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;

use crate::delivery::Message;
use crate::delivery::PathPolicy;
use crate::delivery::Reason;
use crate::delivery::ReasonCode;
use crate::delivery::Route;
use crate::delivery::State;

/// A value of which clients take the unknown for `other`.
pub(crate) trait Open: PartialEq {
    /// What is not known.
    const OTHER: Self;
}

impl Open for State {
    const OTHER: Self = Self::Other;
}

impl Open for ReasonCode {
    const OTHER: Self = Self::Other;
}

impl Open for PathPolicy {
    const OTHER: Self = Self::Other;
}

#[derive(Deserialize)]
#[serde(remote = "Reason", deny_unknown_fields)]
struct StrictReason {
    #[serde(deserialize_with = "known")]
    code: ReasonCode,
    text: String,
}

#[derive(Deserialize)]
#[serde(remote = "Message", deny_unknown_fields)]
struct StrictMessage {
    address: u64,
    data: u32,
}

#[derive(Deserialize)]
#[serde(remote = "Route", rename_all = "kebab-case", deny_unknown_fields)]
enum StrictRoute {
    Msi {
        #[serde(default)]
        gsi: Option<u32>,
        address: u64,
        data: u32,
    },
    Pin {
        gsi: u32,
    },
    #[serde(skip)]
    Other,
}

/// A value that is known.
pub(crate) fn known<'de, T: Open + Deserialize<'de>, D: Deserializer<'de>>(
    json: D,
) -> Result<T, D::Error> {
    match T::deserialize(json)? {
        value if value == T::OTHER => Err(D::Error::custom("an unknown value")),
        value => Ok(value),
    }
}

/// A state that is known, or none.
pub(crate) fn state<'de, D: Deserializer<'de>>(json: D) -> Result<Option<State>, D::Error> {
    #[derive(Deserialize)]
    struct Known(#[serde(deserialize_with = "known")] State);
    Ok(Option::<Known>::deserialize(json)?.map(|Known(state)| state))
}

/// A reason of known fields and code.
pub(crate) fn reason<'de, D: Deserializer<'de>>(json: D) -> Result<Reason, D::Error> {
    StrictReason::deserialize(json)
}

/// The same, or none.
pub(crate) fn some_reason<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Reason>, D::Error> {
    #[derive(Deserialize)]
    struct Strict(#[serde(with = "StrictReason")] Reason);
    Ok(Option::<Strict>::deserialize(json)?.map(|Strict(reason)| reason))
}

/// A message of known fields, or none.
pub(crate) fn message<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Message>, D::Error> {
    #[derive(Deserialize)]
    struct Strict(#[serde(with = "StrictMessage")] Message);
    Ok(Option::<Strict>::deserialize(json)?.map(|Strict(message)| message))
}

/// A route of known form and fields, or none.
pub(crate) fn route<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Route>, D::Error> {
    #[derive(Deserialize)]
    struct Strict(#[serde(with = "StrictRoute")] Route);
    Ok(Option::<Strict>::deserialize(json)?.map(|Strict(route)| route))
}
