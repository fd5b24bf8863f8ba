//! Requests to the state, alone or as a batch, with the tokens of their fds.

use std::os::fd::OwnedFd;

use irqbroker::Token;
use irqbroker_protocol::Batch;
use irqbroker_protocol::BatchDone;
use irqbroker_protocol::Done;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::MAX_FDS;
use irqbroker_protocol::RegisterConsumer;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Registered;
use irqbroker_protocol::Request;
use irqbroker_protocol::WireError;
use serde::Serialize;

use super::identify::identify;
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
    fds: &mut Vec<OwnedFd>,
) -> Result<Answered, WireError> {
    match request {
        Request::Batch(batch) => run_batch(state, session, batch, fds).map(Answered::Batch),
        Request::Answer(answer) => {
            state.answer(session, answer)?;
            Ok(Answered::Done(Done {}))
        }
        one => {
            let tokens = identify(state, std::slice::from_ref(&one), fds);
            let mut tokens = tokens.map_err(|refused| refused.error)?.into_iter();
            Ok(match run_one(state, session, one, &mut tokens)? {
                Some(registered) => Answered::Registered(registered),
                None => Answered::Done(Done {}),
            })
        }
    }
}

fn run_batch(
    state: &mut State,
    session: SessionId,
    batch: Batch,
    fds: &mut Vec<OwnedFd>,
) -> Result<BatchDone, WireError> {
    let length = batch.requests.len();
    if length > MAX_FDS {
        return Err(WireError::new(
            ErrorCode::InvalidField,
            format!("a batch has at most {MAX_FDS} requests, not {length}"),
        ));
    }
    let at = |index: usize, error: WireError| WireError {
        index: Some(index),
        ..error
    };
    let tokens = identify(state, &batch.requests, fds);
    let tokens = tokens.map_err(|refused| at(refused.index, refused.error))?;
    state.all_or_nothing(|state| {
        let mut tokens = tokens.into_iter();
        let mut done = BatchDone::default();
        for (index, request) in batch.requests.into_iter().enumerate() {
            let registered = run_one(state, session, request, &mut tokens);
            done.registered
                .extend(registered.map_err(|error| at(index, error))?);
        }
        Ok(done)
    })
}

fn run_one(
    state: &mut State,
    session: SessionId,
    request: Request,
    tokens: &mut impl Iterator<Item = Token>,
) -> Result<Option<Registered>, WireError> {
    match request {
        Request::RegisterProducer(request) => {
            let fds = producer_fds(&request, tokens)?;
            state.register_producer(session, request, fds).map(Some)
        }
        Request::RegisterConsumer(request) => {
            let fds = consumer_fds(&request, tokens)?;
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
    request: &RegisterProducer,
    tokens: &mut impl Iterator<Item = Token>,
) -> Result<ProducerFds, WireError> {
    Ok(ProducerFds {
        event: next(tokens)?,
        switched_to: match request.switched {
            true => Some(next(tokens)?),
            false => None,
        },
    })
}

fn consumer_fds(
    request: &RegisterConsumer,
    tokens: &mut impl Iterator<Item = Token>,
) -> Result<ConsumerFds, WireError> {
    Ok(ConsumerFds {
        event: next(tokens)?,
        resample: match request.resample {
            true => Some(next(tokens)?),
            false => None,
        },
        attached: match request.attached {
            true => Some(next(tokens)?),
            false => None,
        },
    })
}

fn next(tokens: &mut impl Iterator<Item = Token>) -> Result<Token, WireError> {
    let missing = || WireError::new(ErrorCode::FdCount, "an fd is missing");
    tokens.next().ok_or_else(missing)
}
