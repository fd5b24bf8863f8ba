use super::*;

use crate::batch::Batch;
use crate::delivery::Reason;
use crate::delivery::ReasonCode;
use crate::delivery::Route;
use crate::delivery::State;
use crate::event::Event;
use crate::event::EventKind;
use crate::fds::FdCount;
use crate::hello::Hello;
use crate::instruction::Answer;
use crate::instruction::InstructionId;
use crate::instruction::Outcome;
use crate::name::Name;
use crate::object::ConsumerReport;
use crate::object::ConsumerTakes;
use crate::object::RegisterConsumer;
use crate::object::RegisterProducer;
use crate::object::Side;
use crate::object::Unregister;
use crate::operator::ListLinks;
use crate::scope::Scope;

/// Mutations of each seed.
const MUTATIONS: usize = 2_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// One request of each form.
fn requests() -> Vec<Request> {
    let producer = RegisterProducer {
        link: Some(name("l")),
        switched: true,
        ..RegisterProducer::edge(name("p"))
    };
    let consumer = RegisterConsumer {
        takes: ConsumerTakes::Attach,
        route: Some(Route::Pin { gsi: 4 }),
        resample: true,
        attached: true,
        slot: Some(3),
        ..RegisterConsumer::reading(name("c"))
    };
    vec![
        Request::Hello(Hello::new("x", &Scope::ALL)),
        Request::RegisterProducer(producer.clone()),
        Request::RegisterConsumer(consumer.clone()),
        Request::Unregister(Unregister {
            side: Side::Producer,
            name: name("p"),
        }),
        Request::Report(ConsumerReport {
            name: name("c"),
            masked: Some(true),
            state: Some(State::Relay),
            reason: Some(Reason::new(
                ReasonCode::GsiExhausted,
                "all 4096 gsis are taken",
            )),
            route: None,
            affinity: Some(vec![0, 1]),
        }),
        Request::Answer(Answer {
            instruction: InstructionId(9),
            outcome: Outcome::Done {
                state: State::Bypass,
                reason: Reason::new(ReasonCode::Best, "best path"),
            },
        }),
        Request::Batch(Batch {
            requests: vec![
                Request::RegisterProducer(producer),
                Request::RegisterConsumer(consumer),
            ],
        }),
        Request::Status,
        Request::Links(ListLinks { after: 7 }),
        Request::Watch,
    ]
}

#[test]
fn request_that_is_encoded_is_decoded_as_it_was() {
    for (id, request) in (0..).zip(requests()) {
        let bytes = ClientFrame::encode(id, &request).unwrap();
        let decoded = RequestFrame::decode(&bytes).unwrap();
        assert_eq!(decoded.id, id);
        assert_eq!(decoded.request.unwrap(), request);
    }
}

/// A batch of `count` registrations and withdrawals.
fn long_batch(count: usize) -> Request {
    let requests = (0..count).map(|at| match at % 2 {
        0 => Request::RegisterProducer(RegisterProducer {
            event_id: Some(7),
            ..RegisterProducer::edge(name(&format!("p.{at}")))
        }),
        _ => Request::Unregister(Unregister {
            side: Side::Producer,
            name: name("p"),
        }),
    });
    Request::Batch(Batch {
        requests: requests.collect(),
    })
}

#[test]
fn long_batch_is_read_in_one_pass_as_it_was() {
    let request = long_batch(20);
    let bytes = ClientFrame::encode(6, &request).unwrap();
    let frame = decode_batch(&bytes).unwrap();
    assert_eq!((frame.id, frame.request.unwrap()), (6, request));
}

/// However long a packet is, and whatever the order of its fields: it is judged alike.
#[test]
fn mutated_long_batches_mean_the_same_read_either_way() {
    let mut random = fastrand::Rng::with_seed(0x253);
    let seed = ClientFrame::encode(1, &long_batch(20)).unwrap();
    let mut read = 0;
    for _ in 0..20 * MUTATIONS {
        let mut bytes = seed.clone();
        let at = random.usize(..bytes.len());
        match random.u8(..3) {
            0 => bytes[at] = random.u8(..),
            1 => bytes[at] = *random.choice(br#"{}[]",:0e-"#).unwrap(),
            _ => drop(bytes.remove(at)),
        }
        if let Some(frame) = decode_batch(&bytes) {
            read += 1;
            assert_eq!(RequestFrame::decode_any(&bytes).unwrap(), frame);
        }
    }
    // A letter of a name, a digit: the packet is as usual as before.
    assert!(read > MUTATIONS / 4, "{read}");
}

#[test]
fn long_batch_with_a_body_before_its_type_is_read_all_the_same() {
    let one = r#"{"body":{"side":"producer","name":"p"},"type":"unregister"}"#;
    let all = vec![one; 20].join(",");
    let packet = format!(r#"{{"id":1,"type":"batch","body":{{"requests":[{all}]}}}}"#);
    assert!(decode_batch(packet.as_bytes()).is_none());
    let frame = RequestFrame::decode(packet.as_bytes()).unwrap();
    assert!(matches!(frame.request, Ok(Request::Batch(batch)) if batch.requests.len() == 20));
}

#[test]
fn refused_request_of_a_long_batch_has_its_place() {
    let mut bytes = ClientFrame::encode(1, &long_batch(20)).unwrap();
    // The name of the fourth withdrawal, at 7: `p` becomes a blank.
    let text = String::from_utf8(bytes).unwrap();
    let at = text.match_indices(r#""name":"p""#).nth(3).unwrap().0;
    bytes = text.into_bytes();
    bytes[at + 8] = b' ';
    let error = RequestFrame::decode(&bytes).unwrap().request.unwrap_err();
    assert_eq!(
        (error.code, error.index),
        (ErrorCode::InvalidField, Some(7))
    );
}

#[test]
fn fd_count_of_a_batch_is_the_sum_of_its_requests() {
    let counts: Vec<usize> = requests().iter().map(FdCount::fd_count).collect();
    assert_eq!(counts, [0, 2, 3, 0, 0, 0, 5, 0, 0, 0]);
}

#[test]
fn decode_of_a_wrong_body_keeps_the_number_and_names_the_code() {
    for (packet, code) in [
        (r#"{"id":5,"type":"nothing"}"#, ErrorCode::UnknownRequest),
        (
            r#"{"id":5,"type":"status","body":{"x":1}}"#,
            ErrorCode::InvalidField,
        ),
        (
            r#"{"id":5,"type":"unregister","body":{"side":"left","name":"a"}}"#,
            ErrorCode::InvalidField,
        ),
        (
            r#"{"id":5,"type":"batch","body":{"requests":[{"type":"status"}]}}"#,
            ErrorCode::InvalidField,
        ),
        (
            r#"{"id":5,"type":"batch","body":{"requests":[{"type":"batch"}]}}"#,
            ErrorCode::InvalidField,
        ),
        (
            r#"{"id":5,"type":"batch","body":{"requests":[["unregister",{}]]}}"#,
            ErrorCode::InvalidField,
        ),
        (
            r#"{"id":5,"type":"batch","body":{"requests":[{"type":"unregister","body":null}]}}"#,
            ErrorCode::InvalidField,
        ),
        (
            r#"{"id":5,"type":"register-producer","body":{"name":"a","message":[1,2]}}"#,
            ErrorCode::InvalidField,
        ),
    ] {
        let frame = RequestFrame::decode(packet.as_bytes()).unwrap();
        assert_eq!(frame.id, 5);
        assert_eq!(frame.request.unwrap_err().code, code, "{packet}");
    }
}

#[test]
fn decode_of_no_envelope_is_malformed() {
    for packet in [
        "",
        "[]",
        "{}",
        r#"{"id":-1,"type":"status"}"#,
        r#"{"id":1,"type":"status","x":0}"#,
        r#"[7,"status",null]"#,
        r#"[8,"explain",["zz"]]"#,
        r#"{"id":9,"type":"unregister","body":["producer","p"]}"#,
        r#"{"id":9,"type":"status","body":null}"#,
    ] {
        let error = RequestFrame::decode(packet.as_bytes()).unwrap_err();
        assert_eq!(error.code, ErrorCode::MalformedMessage, "{packet}");
    }
}

#[test]
fn server_frame_of_each_form_is_decoded_as_it_was() {
    let ok = ServerFrame::encode_ok(3, &ListLinks { after: 1 }).unwrap();
    let ServerFrame::Response {
        id: 3,
        result: Ok(body),
    } = ServerFrame::decode(&ok).unwrap()
    else {
        panic!("no answer to request 3");
    };
    assert_eq!(body.read::<ListLinks>().unwrap(), ListLinks { after: 1 });

    let refusal = WireError::new(ErrorCode::UnknownLink, "none");
    let error = ServerFrame::encode_error(4, &refusal).unwrap();
    let result = Err(refusal);
    assert_eq!(
        ServerFrame::decode(&error).unwrap(),
        ServerFrame::Response { id: 4, result }
    );

    let notice = Notice::Event(Event {
        sequence: 8,
        at_ms: 9,
        kind: EventKind::Registered {
            link: 1,
            side: Side::Consumer,
            name: name("c"),
        },
    });
    let bytes = ServerFrame::encode_notice(&notice).unwrap();
    assert_eq!(
        ServerFrame::decode(&bytes).unwrap(),
        ServerFrame::Notice(notice)
    );
}

#[test]
fn server_frame_of_a_later_version_is_unknown_and_no_error() {
    let later = br#"{"notice":"something-new","body":{"x":1}}"#;
    assert_eq!(ServerFrame::decode(later).unwrap(), ServerFrame::Unknown);
}

/// Whatever comes is refused or taken, and what is taken can be said again.
#[test]
fn mutated_packets_are_refused_or_say_the_same_again() {
    let mut random = fastrand::Rng::with_seed(0x1b);
    for request in requests() {
        let seed = ClientFrame::encode(1, &request).unwrap();
        for _ in 0..MUTATIONS {
            let mut bytes = seed.clone();
            for _ in 0..random.usize(1..5) {
                let at = random.usize(..bytes.len().max(1)).min(bytes.len() - 1);
                match random.u8(..4) {
                    0 => bytes[at] = random.u8(..),
                    1 => bytes.truncate(at + 1),
                    2 => bytes.insert(at, *random.choice(br#"{}[]",:0e-"#).unwrap()),
                    _ => {
                        bytes.remove(at);
                        bytes.push(b'}');
                    }
                }
            }
            if let Ok(RequestFrame {
                id,
                request: Ok(request),
                ..
            }) = RequestFrame::decode(&bytes)
            {
                let again = ClientFrame::encode(id, &request).unwrap();
                let again = RequestFrame::decode(&again).unwrap();
                assert_eq!(again.request.unwrap(), request);
            }
            let _frame = ServerFrame::decode(&bytes);
        }
    }
}
