//! Requests to the state: fds become tokens, answers become bytes.

use std::os::fd::OwnedFd;

use irqbroker::Token;
use irqbroker::TokenError;
use irqbroker_protocol::Batch;
use irqbroker_protocol::BatchDone;
use irqbroker_protocol::Done;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::MAX_FDS;
use irqbroker_protocol::RegisterConsumer;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Registered;
use irqbroker_protocol::Request;
use irqbroker_protocol::Side;
use irqbroker_protocol::WireError;
use serde::Serialize;

use super::state::ConsumerFds;
use super::state::ProducerFds;
use super::state::SessionId;
use super::state::State;

/// An answer's body.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Answered {
    Done(Done),
    Registered(Registered),
    Batch(BatchDone),
}

/// Does a request about objects, which comes with as many fds as it speaks of.
///
/// # Errors
///
/// See the contract; nothing changes.
pub(crate) fn objects(
    state: &mut State,
    session: SessionId,
    request: Request,
    fds: Vec<OwnedFd>,
) -> Result<Answered, WireError> {
    let mut fds = fds.into_iter();
    match request {
        Request::Batch(batch) => run_batch(state, session, batch, &mut fds).map(Answered::Batch),
        Request::Answer(answer) => {
            state.answer(session, answer)?;
            Ok(Answered::Done(Done {}))
        }
        one => Ok(match run_one(state, session, one, &mut fds)? {
            Some(registered) => Answered::Registered(registered),
            None => Answered::Done(Done {}),
        }),
    }
}

fn run_batch(
    state: &mut State,
    session: SessionId,
    batch: Batch,
    fds: &mut impl Iterator<Item = OwnedFd>,
) -> Result<BatchDone, WireError> {
    let length = batch.requests.len();
    if length > MAX_FDS {
        return Err(WireError::new(
            ErrorCode::InvalidField,
            format!("a batch has at most {MAX_FDS} requests, not {length}"),
        ));
    }
    state.all_or_nothing(|state| {
        let mut done = BatchDone::default();
        for (index, request) in batch.requests.into_iter().enumerate() {
            let registered = run_one(state, session, request, fds).map_err(|error| WireError {
                index: Some(index),
                ..error
            })?;
            done.registered.extend(registered);
        }
        Ok(done)
    })
}

fn run_one(
    state: &mut State,
    session: SessionId,
    request: Request,
    fds: &mut impl Iterator<Item = OwnedFd>,
) -> Result<Option<Registered>, WireError> {
    match request {
        Request::RegisterProducer(request) => {
            let fds = producer_fds(state, &request, fds)?;
            state.register_producer(session, request, fds).map(Some)
        }
        Request::RegisterConsumer(request) => {
            let fds = consumer_fds(state, &request, fds)?;
            state.register_consumer(session, request, fds).map(Some)
        }
        Request::Unregister(request) => state.unregister(session, &request).map(|()| None),
        Request::Report(report) => state.report(session, report).map(|()| None),
        other => Err(WireError::new(
            ErrorCode::UnknownRequest,
            format!("{} is not about an object", other.kind()),
        )),
    }
}

fn producer_fds(
    state: &State,
    request: &RegisterProducer,
    fds: &mut impl Iterator<Item = OwnedFd>,
) -> Result<ProducerFds, WireError> {
    let known = state.known(Side::Consumer, request.event_id);
    Ok(ProducerFds {
        event: token(fds.next(), known)?,
        switched_to: match request.switched {
            true => Some(token(fds.next(), None)?),
            false => None,
        },
    })
}

fn consumer_fds(
    state: &State,
    request: &RegisterConsumer,
    fds: &mut impl Iterator<Item = OwnedFd>,
) -> Result<ConsumerFds, WireError> {
    let known = state.known(Side::Producer, request.event_id);
    Ok(ConsumerFds {
        event: token(fds.next(), known)?,
        resample: match request.resample {
            true => Some(token(fds.next(), None)?),
            false => None,
        },
        attached: match request.attached {
            true => Some(token(fds.next(), None)?),
            false => None,
        },
    })
}

/// The identity of a passed fd. `known` is what the peer says it is: proof is one cheap call.
fn token(fd: Option<OwnedFd>, known: Option<&Token>) -> Result<Token, WireError> {
    let fd = fd.ok_or_else(|| WireError::new(ErrorCode::FdCount, "an fd is missing"))?;
    let token = match known {
        Some(known) if known.is_same_file(&fd) == Some(true) => Ok(known.clone()),
        _ => Token::adopt(fd),
    };
    token.map_err(|error| {
        let (code, text) = match &error {
            TokenError::NotEventfd { .. } => (ErrorCode::NotEventfd, "a passed fd is no eventfd"),
            TokenError::Semaphore { .. } => (
                ErrorCode::SemaphoreEventfd,
                "a passed eventfd was made with EFD_SEMAPHORE",
            ),
            _ => (ErrorCode::Internal, "a passed fd cannot be identified"),
        };
        tracing::debug!(%error, "fd refused");
        WireError::new(code, text)
    })
}
