//! Which eventfds passed fds are, whatever their peer says.

use super::*;
use crate::serve::partners::Partners;
use crate::serve::state::NewSession;
use crate::serve::state::ProducerFds;
use crate::serve::state::Quotas;
use crate::serve::state::SessionId;
use irqbroker_protocol::Name;
use irqbroker_protocol::RegisterConsumer;
use irqbroker_protocol::RegisterProducer;
use rustix::event::EventfdFlags;

/// The connection that has registered a producer.
const SESSION: SessionId = SessionId(1);

fn event() -> OwnedFd {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

fn passed(event: &OwnedFd) -> OwnedFd {
    event.try_clone().unwrap()
}

fn id(event: &OwnedFd) -> u64 {
    Token::of(event).unwrap().id().0
}

fn name(index: usize) -> Name {
    Name::new(&format!("n{index}")).unwrap()
}

fn produce(index: usize, event_id: Option<u64>) -> Request {
    Request::RegisterProducer(RegisterProducer {
        event_id,
        ..RegisterProducer::edge(name(index))
    })
}

fn consume(index: usize, event_id: Option<u64>) -> Request {
    Request::RegisterConsumer(RegisterConsumer {
        event_id,
        ..RegisterConsumer::reading(name(index))
    })
}

fn state() -> State {
    State::new(Quotas::default(), Partners::default())
}

/// A state in which a producer has registered `event`.
fn state_with(event: &OwnedFd) -> State {
    let mut state = state();
    let new = NewSession {
        uid: 0,
        client: String::new(),
        scopes: Vec::new(),
        linger_ms: 0,
        record: None,
    };
    state.open(SESSION, new);
    let fds = ProducerFds {
        event: Token::of(event).unwrap(),
        switched_to: None,
    };
    let request = RegisterProducer::edge(name(0));
    state.register_producer(SESSION, request, fds).unwrap();
    state
}

fn ids(tokens: &[Token]) -> Vec<u64> {
    tokens.iter().map(|token| token.id().0).collect()
}

#[test]
fn identify_of_unclaimed_fds_tells_what_each_is() {
    let events = [event(), event(), event()];
    let requests: Vec<Request> = (0..3).map(|index| produce(index, None)).collect();
    let fds = events.iter().map(passed).collect();
    let tokens = identify(&state(), &requests, &mut { fds }).unwrap();
    assert_eq!(
        ids(&tokens),
        [id(&events[0]), id(&events[1]), id(&events[2])]
    );
}

#[test]
fn identify_of_what_a_partner_registered_shares_its_fd() {
    let event = event();
    let state = state_with(&event);
    let known = state.known(Side::Producer, Some(id(&event))).unwrap();
    let requests = [consume(0, Some(id(&event)))];
    let tokens = identify(&state, &requests, &mut vec![passed(&event)]).unwrap();
    let same_number = |token: &Token| std::os::fd::AsFd::as_fd(token).as_raw_fd();
    assert_eq!(same_number(&tokens[0]), same_number(known));
}

#[test]
fn identify_of_both_sides_in_one_packet_finds_one_eventfd() {
    let (one, other) = (event(), event());
    let requests = [
        produce(0, Some(id(&one))),
        produce(1, Some(id(&other))),
        consume(0, Some(id(&one))),
    ];
    let fds = vec![passed(&one), passed(&other), passed(&one)];
    let tokens = identify(&state(), &requests, &mut { fds }).unwrap();
    assert_eq!(ids(&tokens), [id(&one), id(&other), id(&one)]);
}

#[test]
fn identify_of_a_false_claim_believes_the_kernel() {
    let (registered, one, other) = (event(), event(), event());
    let state = state_with(&registered);
    // The partner's, the first of the packet's, and nobody's.
    let requests = [
        consume(0, Some(id(&registered))),
        produce(1, Some(id(&one))),
        produce(2, Some(id(&one))),
        produce(3, Some(u64::MAX)),
    ];
    let last = event();
    let fds = vec![
        passed(&other),
        passed(&one),
        passed(&registered),
        passed(&last),
    ];
    let tokens = identify(&state, &requests, &mut { fds }).unwrap();
    let expected = [id(&other), id(&one), id(&registered), id(&last)];
    assert_eq!(ids(&tokens), expected);
}

#[test]
fn identify_of_what_is_no_eventfd_names_its_request() {
    let null: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    let semaphore = rustix::event::eventfd(0, EventfdFlags::SEMAPHORE).unwrap();
    let first = event();
    let switched = RegisterProducer {
        switched: true,
        ..RegisterProducer::edge(name(0))
    };
    // Two fds, then one with a claim on the first.
    let requests = [
        Request::RegisterProducer(switched),
        produce(1, None),
        produce(2, Some(id(&first))),
    ];
    for (bad, code) in [
        (&null, ErrorCode::NotEventfd),
        (&semaphore, ErrorCode::SemaphoreEventfd),
    ] {
        for (place, index) in [(0, 0), (1, 0), (2, 1), (3, 2)] {
            let mut fds: Vec<OwnedFd> = (0..4).map(|_| event()).collect();
            fds[place] = passed(bad);
            let refused = identify(&state(), &requests, &mut fds).unwrap_err();
            assert_eq!((refused.index, refused.error.code), (index, code));
            assert!(fds.len() >= 4 - place, "closed in passing");
        }
    }
}
