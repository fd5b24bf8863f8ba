//! The state against its own rules, at random and by example.

use irqbroker::Token;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::PathPolicy;
use irqbroker_protocol::ProducerSwitch;
use irqbroker_protocol::SetPath;
use irqbroker_protocol::Side;
use irqbroker_protocol::State as DeliveryState;
use irqbroker_protocol::Unregister;
use proptest::prelude::*;

use super::Quotas;
use super::SessionId;
use super::rig::Rig;
use super::rig::STRANGER;
use super::rig::UIDS;
use super::rig::event;
use super::rig::name;
use super::session::OBJECT_BYTES;

/// Few of everything, so that requests meet.
const SESSIONS: u64 = 3;
const NAMES: [&str; 3] = ["a", "b", "c"];
const EVENTS: usize = 4;

#[derive(Debug, Clone)]
enum Op {
    Open {
        session: u64,
        linger_ms: u32,
    },
    Close {
        session: u64,
    },
    Produce {
        session: u64,
        name: usize,
        link: usize,
        event: usize,
        switches: bool,
    },
    Consume {
        session: u64,
        name: usize,
        link: usize,
        event: usize,
        takes: u8,
    },
    Unregister {
        session: u64,
        name: usize,
        consumer: bool,
    },
    Answer {
        at: usize,
        declines: bool,
    },
    SetPath {
        name: usize,
        relay: bool,
    },
    Pass {
        ms: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let (session, name, link) = (0..SESSIONS, 0..NAMES.len(), 0..=NAMES.len());
    prop_oneof![
        2 => (session.clone(), prop_oneof![Just(0u32), Just(50)])
            .prop_map(|(session, linger_ms)| Op::Open { session, linger_ms }),
        1 => session.clone().prop_map(|session| Op::Close { session }),
        4 => (session.clone(), name.clone(), link.clone(), 0..EVENTS, any::<bool>())
            .prop_map(|(session, name, link, event, switches)| Op::Produce {
                session, name, link, event, switches
            }),
        4 => (session.clone(), name.clone(), link, 0..EVENTS, 0u8..3)
            .prop_map(|(session, name, link, event, takes)| Op::Consume {
                session, name, link, event, takes
            }),
        2 => (session, name.clone(), any::<bool>())
            .prop_map(|(session, name, consumer)| Op::Unregister { session, name, consumer }),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(at, declines)| Op::Answer { at, declines }),
        1 => (name, any::<bool>()).prop_map(|(name, relay)| Op::SetPath { name, relay }),
        1 => (0u64..100).prop_map(|ms| Op::Pass { ms }),
    ]
}

fn run(rig: &mut Rig, now: &mut u64, events: &[Token], op: Op) -> Result<(), ErrorCode> {
    let link = |at: usize| NAMES.get(at).copied();
    let done = match op {
        Op::Open { session, linger_ms } => {
            if !rig.state.sessions.contains_key(&SessionId(session)) {
                rig.open(session, linger_ms);
            }
            Ok(())
        }
        Op::Close { session } => {
            rig.state.close(SessionId(session), *now);
            Ok(())
        }
        Op::Produce {
            session,
            name,
            link: of,
            event,
            switches,
        } => {
            let switch = match switches {
                true => ProducerSwitch::Masked,
                false => ProducerSwitch::Never,
            };
            let called = (NAMES[name], link(of));
            let session = SessionId(session);
            rig.produce(session, called, &events[event], switch)
                .map(drop)
        }
        Op::Consume {
            session,
            name,
            link: of,
            event,
            takes,
        } => {
            let takes = match takes {
                0 => ConsumerTakes::Attach,
                1 => ConsumerTakes::OwnIrqfd,
                _ => ConsumerTakes::OwnRead,
            };
            let called = (NAMES[name], link(of));
            let session = SessionId(session);
            rig.consume(session, called, &events[event], takes)
                .map(drop)
        }
        Op::Unregister {
            session,
            name: of,
            consumer,
        } => {
            let side = match consumer {
                true => Side::Consumer,
                false => Side::Producer,
            };
            let name = name(NAMES[of]);
            rig.state
                .unregister(SessionId(session), &Unregister { side, name })
        }
        Op::Answer { at, declines } => match rig.told.len() {
            0 => Ok(()),
            waiting => rig.answer(at % waiting, declines),
        },
        Op::SetPath { name, relay } => {
            let path = match relay {
                true => PathPolicy::Relay,
                false => PathPolicy::Auto,
            };
            let link = NAMES[name].to_owned();
            rig.state.set_path(&SetPath { link, path })
        }
        Op::Pass { ms } => {
            *now += ms;
            rig.state.expire(*now);
            Ok(())
        }
    };
    done.map_err(|error| error.code)
}

proptest! {
    #[test]
    fn random_requests_keep_the_index_and_one_taker(ops in prop::collection::vec(op(), 1..60)) {
        let mut rig = Rig::new(Quotas::default());
        let events: Vec<Token> = (0..EVENTS).map(|_| event()).collect();
        let mut now = 0;
        for op in ops {
            let before = format!("{:?}", rig.state.links);
            let done = run(&mut rig, &mut now, &events, op);
            if done.is_err() {
                prop_assert_eq!(format!("{:?}", rig.state.links), before);
                prop_assert!(rig.state.effects.is_empty());
            }
            rig.happen();
            rig.check();
        }
        // Everybody leaves, and nothing is left.
        for session in 0..SESSIONS {
            rig.state.close(SessionId(session), now);
        }
        rig.state.expire(u64::MAX);
        rig.happen();
        rig.check();
        prop_assert!(rig.state.links.is_empty() && rig.state.holdings.is_empty());
    }
}

#[test]
fn refused_requests_change_nothing() {
    let quotas = Quotas {
        objects: 1,
        ..Quotas::default()
    };
    let mut rig = Rig::new(quotas);
    let (session, source) = (rig.open(1, 0), event());
    let never = ProducerSwitch::Never;
    rig.produce(session, ("a", Some("l")), &source, never)
        .unwrap();
    rig.happen();
    let before = format!("{:?}", rig.state.links);
    let refused = rig.produce(session, ("b", Some("m")), &event(), never);
    assert_eq!(refused.unwrap_err().code, ErrorCode::QuotaExceeded);
    assert_eq!(format!("{:?}", rig.state.links), before);
    rig.happen();
    rig.check();
}

#[test]
fn memory_of_a_uid_counts_objects_and_what_waits_for_it() {
    let quotas = Quotas {
        memory_bytes: 3 * OBJECT_BYTES,
        ..Quotas::default()
    };
    let mut rig = Rig::new(quotas);
    let (session, never) = (rig.open(1, 0), ProducerSwitch::Never);
    rig.produce(session, ("a", Some("l")), &event(), never)
        .unwrap();
    // One byte more than leaves room for an object.
    let waiting = OBJECT_BYTES + 1;
    rig.state.waits(UIDS[1], 0, waiting);
    let refused = rig.produce(session, ("b", Some("m")), &event(), never);
    assert_eq!(refused.unwrap_err().code, ErrorCode::QuotaExceeded);
    rig.state.waits(UIDS[1], waiting, 0);
    rig.produce(session, ("b", Some("m")), &event(), never)
        .unwrap();
    assert_eq!(rig.state.room(UIDS[1]), OBJECT_BYTES);
    assert!(rig.state.waiting.is_empty());
}

#[test]
fn attach_that_is_done_ends_the_relay_and_a_detach_begins_it_again() {
    let mut rig = Rig::new(Quotas::default());
    let (session, source, sink) = (rig.open(1, 0), event(), event());
    let never = ProducerSwitch::Never;
    let link = rig
        .produce(session, ("p", Some("l")), &source, never)
        .unwrap();
    rig.consume(session, ("c", Some("l")), &sink, ConsumerTakes::Attach)
        .unwrap();
    rig.happen();
    assert!(rig.relaying.is_empty(), "claimed while attaching");
    rig.answer(0, false).unwrap();
    rig.happen();
    assert_eq!(rig.state.links[&link].shown.state, DeliveryState::Bypass);
    let to_relay = SetPath {
        link: "l".to_owned(),
        path: PathPolicy::Relay,
    };
    rig.state.set_path(&to_relay).unwrap();
    rig.happen();
    assert!(
        rig.relaying.is_empty(),
        "claimed before the consumer let go"
    );
    rig.answer(0, false).unwrap();
    rig.happen();
    assert!(rig.relaying.contains(&link));
    rig.check();
}

#[test]
fn consumer_that_comes_back_attached_is_told_nothing() {
    let mut rig = Rig::new(Quotas::default());
    let (session, source, sink) = (rig.open(1, 0), event(), event());
    let request = irqbroker_protocol::RegisterConsumer {
        link: Some(name("l")),
        takes: ConsumerTakes::Attach,
        attached: true,
        ..irqbroker_protocol::RegisterConsumer::reading(name("c"))
    };
    let fds = super::ConsumerFds {
        event: sink,
        resample: None,
        attached: Some(source.clone()),
    };
    let registered = rig.state.register_consumer(session, request, fds).unwrap();
    let never = ProducerSwitch::Never;
    rig.produce(session, ("p", Some("l")), &source, never)
        .unwrap();
    rig.happen();
    assert!(rig.told.is_empty());
    assert!(rig.relaying.is_empty());
    let shown = &rig.state.links[&registered.link].shown;
    assert_eq!(shown.state, DeliveryState::Bypass);
}

#[test]
fn users_meet_by_name_only_where_they_are_partners() {
    let mut rig = Rig::new(Quotas::default());
    let never = ProducerSwitch::Never;
    let [own, partner] = UIDS;
    let device = rig.open_as(1, 0, own);
    let hostile = rig.open_as(2, 0, STRANGER);
    // First to come, with the names the others will use.
    let squatted = rig
        .consume(hostile, ("c", Some("l")), &event(), ConsumerTakes::OwnRead)
        .unwrap();
    let link = rig
        .produce(device, ("p", Some("l")), &event(), never)
        .unwrap();
    assert_ne!(link, squatted);
    let impostor = rig.produce(hostile, ("p", Some("l")), &event(), never);
    assert_eq!(impostor.unwrap(), squatted);
    let vmm = rig.open_as(3, 0, partner);
    let met = rig.consume(vmm, ("c", Some("l")), &event(), ConsumerTakes::OwnRead);
    assert_eq!(met.unwrap(), link);
    rig.happen();
    rig.check();
    // Nobody withdraws what is another's.
    let (side, name) = (Side::Producer, name("p"));
    let unregister = Unregister { side, name };
    rig.state.unregister(hostile, &unregister).unwrap();
    assert!(rig.state.links[&link].producer.is_some());
    let again = rig.state.unregister(hostile, &unregister);
    assert_eq!(again.unwrap_err().code, ErrorCode::UnknownName);
}

#[test]
fn users_that_hold_one_eventfd_meet_by_it() {
    let mut rig = Rig::new(Quotas::default());
    let device = rig.open_as(1, 0, UIDS[0]);
    let other = rig.open_as(2, 0, STRANGER);
    let shared = event();
    let link = rig.produce(device, ("p", None), &shared, ProducerSwitch::Never);
    let met = rig.consume(other, ("c", None), &shared, ConsumerTakes::OwnRead);
    assert_eq!(met.unwrap(), link.unwrap());
}

#[test]
fn consumer_that_is_evicted_leaves_its_link_and_lingers_no_more() {
    let mut rig = Rig::new(Quotas::default());
    // It would outlive its connection, and hold the relay up again.
    let (device, hostile) = (rig.open(0, 0), rig.open(3, 50));
    let link = rig
        .produce(device, ("p", Some("l")), &event(), ProducerSwitch::Never)
        .unwrap();
    rig.consume(hostile, ("c", Some("l")), &event(), ConsumerTakes::OwnRead)
        .unwrap();
    rig.happen();
    assert!(rig.relaying.contains(&link));
    assert_eq!(rig.state.evict(link), Some(hostile));
    rig.happen();
    rig.check();
    assert!(rig.state.links[&link].consumer.is_none());
    rig.state.close(hostile, 0);
    assert!(rig.state.lingering.is_empty());
    assert_eq!(rig.state.evict(link), None);
}
