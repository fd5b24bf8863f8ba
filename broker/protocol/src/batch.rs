//! Several requests as one, of which all or none take effect.

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::Visitor;

use crate::object::Registered;
use crate::request::Request;

/// Registrations, withdrawals and reports that take effect together or not at all. The packet
/// carries their fds one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// What to do, in this order. Only requests with [`Request::may_be_batched`].
    pub requests: Vec<Request>,
}

/// Answer to a batch, of which everything was done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BatchDone {
    /// One for each registration of the batch, in its order.
    pub registered: Vec<Registered>,
}

/// The body of a batch as clients write it, read in one pass. What this refuses is read by
/// [`Request::decode`], which knows every form, and the code and index of what is wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsualBatch {
    requests: Vec<Member>,
}

impl From<UsualBatch> for Batch {
    fn from(usual: UsualBatch) -> Self {
        Self {
            requests: usual.requests.into_iter().map(|one| one.0).collect(),
        }
    }
}

/// A request of a batch: first its type, then its body.
struct Member(Request);

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TypeThenBody).map(Self)
    }
}

struct TypeThenBody;

impl<'de> Visitor<'de> for TypeThenBody {
    type Value = Request;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("type and body")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Request, A::Error> {
        let unusual = || A::Error::custom("another form");
        if map.next_key::<&str>()? != Some("type") {
            return Err(unusual());
        }
        let kind: &str = map.next_value()?;
        if map.next_key::<&str>()? != Some("body") {
            return Err(unusual());
        }
        let request = match kind {
            "register-producer" => Request::RegisterProducer(map.next_value()?),
            "register-consumer" => Request::RegisterConsumer(map.next_value()?),
            "unregister" => Request::Unregister(map.next_value()?),
            "report" => Request::Report(map.next_value()?),
            _ => return Err(unusual()),
        };
        match map.next_key::<&str>()? {
            None => Ok(request),
            Some(_) => Err(unusual()),
        }
    }
}
