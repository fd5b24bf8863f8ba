//! Every request, and what it asks of a connection.

use serde::Serialize;
use serde::Serializer;
use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct;
use serde_json::value::RawValue;

use crate::batch::Batch;
use crate::code::ErrorCode;
use crate::code::WireError;
use crate::hello::Hello;
use crate::instruction::Answer;
use crate::json;
use crate::object::ConsumerReport;
use crate::object::RegisterConsumer;
use crate::object::RegisterProducer;
use crate::object::Unregister;
use crate::operator::Explain;
use crate::operator::ListLinks;
use crate::operator::SetPath;
use crate::reply::Done;
use crate::scope::Scope;
use crate::vgpu::CreateVgpu;
use crate::vgpu::DestroyVgpu;

/// Something asked of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The handshake. Answered by [`Welcome`](crate::Welcome).
    Hello(Hello),
    /// Answered by [`Registered`](crate::Registered).
    RegisterProducer(RegisterProducer),
    /// Answered by [`Registered`](crate::Registered).
    RegisterConsumer(RegisterConsumer),
    /// Answered by [`Done`](crate::Done).
    Unregister(Unregister),
    /// Answered by [`Done`](crate::Done).
    Report(ConsumerReport),
    /// Answered by [`Done`](crate::Done).
    Answer(Answer),
    /// Answered by [`BatchDone`](crate::BatchDone).
    Batch(Batch),
    /// Answered by [`Status`](crate::Status).
    Status,
    /// Answered by [`Links`](crate::Links).
    Links(ListLinks),
    /// Answered by [`Explanation`](crate::Explanation).
    Explain(Explain),
    /// Answered by [`Done`](crate::Done).
    SetPath(SetPath),
    /// Answered by [`Done`](crate::Done); events follow as notices.
    Watch,
    /// Answered by [`Vgpus`](crate::Vgpus).
    VgpuList,
    /// Answered by [`VgpuRow`](crate::VgpuRow).
    VgpuCreate(CreateVgpu),
    /// Answered by [`Done`](crate::Done).
    VgpuDestroy(DestroyVgpu),
}

/// A request inside a batch as it travels.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Batched<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow, default, deserialize_with = "json::there")]
    body: Option<&'a RawValue>,
}

/// The body of a batch as it travels.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody<'a> {
    #[serde(borrow)]
    requests: Vec<Batched<'a>>,
}

impl Request {
    /// The type as it stands on the wire.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::RegisterProducer(_) => "register-producer",
            Self::RegisterConsumer(_) => "register-consumer",
            Self::Unregister(_) => "unregister",
            Self::Report(_) => "report",
            Self::Answer(_) => "answer",
            Self::Batch(_) => "batch",
            Self::Status => "status",
            Self::Links(_) => "links",
            Self::Explain(_) => "explain",
            Self::SetPath(_) => "set-path",
            Self::Watch => "watch",
            Self::VgpuList => "vgpu-list",
            Self::VgpuCreate(_) => "vgpu-create",
            Self::VgpuDestroy(_) => "vgpu-destroy",
        }
    }

    /// Whether a connection with these scopes may ask it.
    #[must_use]
    pub fn is_allowed(&self, scopes: &[Scope]) -> bool {
        let has = |wanted: &[Scope]| wanted.iter().any(|scope| scopes.contains(scope));
        match self {
            Self::Hello(_) => true,
            Self::RegisterProducer(_) => has(&[Scope::Producer]),
            Self::RegisterConsumer(_) | Self::Report(_) => has(&[Scope::Consumer]),
            Self::Unregister(_) | Self::Answer(_) => has(&[Scope::Producer, Scope::Consumer]),
            Self::Batch(batch) => batch.requests.iter().all(|one| one.is_allowed(scopes)),
            Self::Status | Self::Links(_) | Self::Explain(_) | Self::Watch | Self::VgpuList => {
                has(&[Scope::ReadOnly, Scope::Operator])
            }
            Self::SetPath(_) | Self::VgpuCreate(_) | Self::VgpuDestroy(_) => {
                has(&[Scope::Operator])
            }
        }
    }

    /// Whether it may stand in a batch.
    #[must_use]
    pub const fn may_be_batched(&self) -> bool {
        matches!(
            self,
            Self::RegisterProducer(_)
                | Self::RegisterConsumer(_)
                | Self::Unregister(_)
                | Self::Report(_)
        )
    }

    /// Reads a request.
    ///
    /// # Errors
    ///
    /// `unknown-request`, `invalid-field`; in a batch with the index.
    pub fn decode(kind: &str, body: Option<&RawValue>) -> Result<Self, WireError> {
        if body.is_some_and(|body| json::misplaces_a_list(body.get())) {
            return Err(WireError::new(
                ErrorCode::InvalidField,
                format!("{kind}: a list where an object is expected"),
            ));
        }
        let request = match kind {
            "hello" => Self::Hello(read(kind, body)?),
            "register-producer" => Self::RegisterProducer(read(kind, body)?),
            "register-consumer" => Self::RegisterConsumer(read(kind, body)?),
            "unregister" => Self::Unregister(read(kind, body)?),
            "report" => Self::Report(read(kind, body)?),
            "answer" => Self::Answer(read(kind, body)?),
            "batch" => Self::Batch(decode_batch(body)?),
            "status" => empty(kind, body, Self::Status)?,
            "links" => Self::Links(read(kind, body)?),
            "explain" => Self::Explain(read(kind, body)?),
            "set-path" => Self::SetPath(read(kind, body)?),
            "watch" => empty(kind, body, Self::Watch)?,
            "vgpu-list" => empty(kind, body, Self::VgpuList)?,
            "vgpu-create" => Self::VgpuCreate(read(kind, body)?),
            "vgpu-destroy" => Self::VgpuDestroy(read(kind, body)?),
            _ => {
                return Err(WireError::new(
                    ErrorCode::UnknownRequest,
                    "there is no such request",
                ));
            }
        };
        Ok(request)
    }
}

/// The body of a request on its way.
#[derive(Debug)]
pub(crate) struct Body<'a>(pub(crate) &'a Request);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Request::Hello(body) => body.serialize(serializer),
            Request::RegisterProducer(body) => body.serialize(serializer),
            Request::RegisterConsumer(body) => body.serialize(serializer),
            Request::Unregister(body) => body.serialize(serializer),
            Request::Report(body) => body.serialize(serializer),
            Request::Answer(body) => body.serialize(serializer),
            Request::Batch(batch) => {
                let mut body = serializer.serialize_struct("Batch", 1)?;
                body.serialize_field("requests", &Members(&batch.requests))?;
                body.end()
            }
            Request::Status | Request::Watch | Request::VgpuList => Done {}.serialize(serializer),
            Request::Links(body) => body.serialize(serializer),
            Request::Explain(body) => body.serialize(serializer),
            Request::SetPath(body) => body.serialize(serializer),
            Request::VgpuCreate(body) => body.serialize(serializer),
            Request::VgpuDestroy(body) => body.serialize(serializer),
        }
    }
}

/// The requests of a batch on their way.
struct Members<'a>(&'a [Request]);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct One<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            body: Body<'a>,
        }
        serializer.collect_seq(self.0.iter().map(|request| One {
            kind: request.kind(),
            body: Body(request),
        }))
    }
}

fn invalid(kind: &str, error: &serde_json::Error) -> WireError {
    WireError::new(ErrorCode::InvalidField, format!("{kind}: {error}"))
}

/// A body that may be left out where every field may.
fn read<T: DeserializeOwned>(kind: &str, body: Option<&RawValue>) -> Result<T, WireError> {
    let text = body.map_or("{}", RawValue::get);
    serde_json::from_str(text).map_err(|error| invalid(kind, &error))
}

/// A request whose body has no fields.
fn empty(kind: &str, body: Option<&RawValue>, request: Request) -> Result<Request, WireError> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Empty {}
    read::<Empty>(kind, body).map(|Empty {}| request)
}

fn decode_batch(body: Option<&RawValue>) -> Result<Batch, WireError> {
    let text = body.map_or("{}", RawValue::get);
    let body: BatchBody<'_> =
        serde_json::from_str(text).map_err(|error| invalid("batch", &error))?;
    let mut requests = Vec::with_capacity(body.requests.len());
    for (index, one) in body.requests.into_iter().enumerate() {
        let at = |error: WireError| WireError {
            index: Some(index),
            ..error
        };
        // Looked at first: a batch in a batch would nest as deep as the packet is long.
        if one.kind == "batch" || one.kind == "hello" {
            return Err(at(not_batched(&one.kind)));
        }
        let request = Request::decode(&one.kind, one.body).map_err(at)?;
        if !request.may_be_batched() {
            return Err(at(not_batched(&one.kind)));
        }
        requests.push(request);
    }
    Ok(Batch { requests })
}

fn not_batched(kind: &str) -> WireError {
    WireError::new(
        ErrorCode::InvalidField,
        format!("{kind} cannot be part of a batch"),
    )
}
