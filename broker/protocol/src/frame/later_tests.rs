use super::*;

use serde_json::Value;
use serde_json::json;

use crate::delivery::PathPolicy;
use crate::delivery::ReasonCode;
use crate::delivery::Route;
use crate::delivery::State;
use crate::event::EventKind;
use crate::hello::Welcome;
use crate::instruction::InstructionId;
use crate::name::Name;
use crate::operator::Explanation;
use crate::operator::Links;
use crate::operator::Status;
use crate::vgpu::VgpuRow;
use crate::vgpu::VgpuState;
use crate::vgpu::Vgpus;

/// The same with a field more in every object.
fn with_more_fields(value: &Value) -> Value {
    match value {
        // The tag of an enum is no object to add to.
        Value::Object(fields) if fields.keys().any(|key| key == "msi" || key == "pin") => fields
            .iter()
            .map(|(key, value)| (key.clone(), with_more_fields(value)))
            .collect(),
        Value::Object(fields) => {
            let more = ("later".to_owned(), json!({"x": [1]}));
            let fields = fields.iter();
            fields
                .map(|(key, value)| (key.clone(), with_more_fields(value)))
                .chain([more])
                .collect()
        }
        Value::Array(all) => all.iter().map(with_more_fields).collect(),
        value => value.clone(),
    }
}

fn row() -> Value {
    json!({
        "id": 1, "link": "l", "token": 2, "producer": "p", "consumer": "c", "state": "relay",
        "reason": "text", "reason_code": "held", "events": 3, "path": "auto",
        "route": {"msi": {"gsi": 24, "address": 0xfee0_0000_u64, "data": 65}},
    })
}

/// One notice of each kind.
fn notices() -> Vec<Value> {
    let delivery = json!({"state": "relay", "reason": {"code": "held", "text": "waits"}});
    let event = |event: Value| {
        let mut body = json!({"sequence": 1, "at_ms": 2});
        let fields = event.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        json!({"notice": "event", "body": body})
    };
    let side = |kind| event(json!({"event": kind, "link": 1, "side": "producer", "name": "p"}));
    vec![
        json!({"notice": "attach", "body": {
            "instruction": 1, "consumer": "c", "producer": "p", "trigger": "edge",
            "automasked": false, "source_id": 8, "host_irq": 24,
        }}),
        json!({"notice": "detach", "body": {"instruction": 1, "consumer": "c"}}),
        json!({"notice": "switch", "body": {"instruction": 1, "producer": "p", "back": true}}),
        json!({"notice": "paired", "body": {"side": "consumer", "name": "c", "partner": "p"}}),
        json!({"notice": "mask-source", "body": {"producer": "p", "masked": true}}),
        json!({"notice": "message-changed", "body": {
            "producer": "p", "message": {"address": 1, "data": 2},
        }}),
        json!({"notice": "hint", "body": {"producer": "p", "affinity": [0]}}),
        json!({"notice": "closing", "body": {"code": "not-allowed", "text": "no"}}),
        side("registered"),
        side("unregistered"),
        side("lingering"),
        event(json!({"event": "delivery", "link": 1, "from": delivery, "to": delivery})),
        event(json!({"event": "recovered", "link": 1})),
        event(json!({"event": "connected", "session": 1, "uid": 0, "client": "x"})),
        event(json!({"event": "disconnected", "session": 1})),
        event(json!({"event": "vgpu", "uuid": "u", "state": "running"})),
        event(json!({"event": "lagged", "missed": 4})),
    ]
}

fn notice(value: &Value) -> Notice {
    match ServerFrame::decode(value.to_string().as_bytes()).unwrap() {
        ServerFrame::Notice(notice) => notice,
        frame => panic!("{value}: {frame:?}"),
    }
}

fn answer<T: DeserializeOwned>(ok: &Value) -> T {
    let packet = json!({"id": 1, "ok": ok, "later": 1}).to_string();
    match ServerFrame::decode(packet.as_bytes()).unwrap() {
        ServerFrame::Response {
            result: Ok(body), ..
        } => body.read().unwrap(),
        frame => panic!("{ok}: {frame:?}"),
    }
}

#[test]
fn notice_with_a_field_more_is_read_without_it() {
    for value in notices() {
        assert_eq!(notice(&with_more_fields(&value)), notice(&value));
    }
}

#[test]
fn answer_with_a_field_more_is_read_without_it() {
    fn same<T: DeserializeOwned + PartialEq + fmt::Debug>(ok: &Value) {
        assert_eq!(answer::<T>(&with_more_fields(ok)), answer::<T>(ok));
    }
    let vgpu = json!({"uuid": "u", "type": "small", "socket": "/s", "state": "running"});
    same::<Welcome>(&json!({
        "version": 1, "daemon": "d", "run": 2, "session": 3, "features": [],
        "limits": {
            "message_bytes": 1, "message_fds": 2, "batch_requests": 3, "objects": 4,
            "requests_per_second": 5, "backlog_bytes": 6, "linger_ms": 7, "link_rows": 8,
        },
    }));
    same::<crate::batch::BatchDone>(&json!({"registered": [{"link": 1, "event_id": 2}]}));
    same::<crate::reply::Done>(&json!({}));
    same::<Links>(&json!({"links": [row()], "next": 7}));
    same::<Explanation>(&json!({"row": row(), "causes": [{"text": "because"}]}));
    same::<Status>(&json!({
        "daemon": "d", "pid": 1, "run": 2, "uptime_ms": 3, "connections": 4, "producers": 5,
        "consumers": 6, "lingering": 7, "fds": 8, "relayed": 9, "recovered": 10, "requests": 11,
        "refused": 12, "wakeups": 13, "vgpus": 14,
        "links": {"unmatched": 1, "masked": 2, "relay": 3, "bypass": 4, "posted": 5},
    }));
    same::<Vgpus>(&json!({"vgpus": [vgpu]}));
    let error = json!({"id": 1, "error": {"code": "mismatch", "text": "no"}});
    let read = |error: &Value| ServerFrame::decode(error.to_string().as_bytes()).unwrap();
    assert_eq!(read(&with_more_fields(&error)), read(&error));
}

#[test]
fn words_of_a_later_daemon_are_other() {
    let mut later = row();
    later["state"] = "later".into();
    later["reason_code"] = "later".into();
    later["path"] = "later".into();
    later["route"] = json!({"later": {"address": 1}});
    let links: Links = answer(&json!({"links": [later]}));
    let row = &links.links[0];
    let words = (row.state, row.reason_code, row.path, row.route);
    let other = (State::Other, ReasonCode::Other, PathPolicy::Other);
    assert_eq!(words, (other.0, other.1, other.2, Some(Route::Other)));

    let later = json!({"uuid": "u", "type": "small", "socket": "/s", "state": "later"});
    assert_eq!(answer::<VgpuRow>(&later).state, VgpuState::Other);

    let later = json!({"id": 1, "error": {"code": "later", "text": "no"}}).to_string();
    let frame = ServerFrame::decode(later.as_bytes()).unwrap();
    let result = Err(WireError::new(ErrorCode::Other, "no"));
    assert_eq!(frame, ServerFrame::Response { id: 1, result });

    let later = json!({"notice": "closing", "body": {"code": "later", "text": "no"}});
    assert!(matches!(notice(&later), Notice::Closing(closing) if closing.code == ErrorCode::Other));
    let later =
        json!({"notice": "event", "body": {"sequence": 1, "at_ms": 2, "event": "later", "x": 1}});
    assert!(matches!(notice(&later), Notice::Event(event) if event.kind == EventKind::Other));
    let delivery = json!({"state": "later", "reason": {"code": "later", "text": "new"}});
    let later = json!({"notice": "event", "body": {
        "sequence": 1, "at_ms": 2, "event": "delivery", "link": 1, "from": delivery, "to": delivery,
    }});
    let Notice::Event(event) = notice(&later) else {
        panic!("no event");
    };
    assert!(matches!(event.kind, EventKind::Delivery { to, .. } if to.state == State::Other));
}

#[test]
fn instruction_that_cannot_be_read_is_left_to_be_declined() {
    for (packet, kind, consumer, may_be_declined) in [
        // An `attach` without its producer, and with a trigger of a later daemon's.
        (
            json!({"notice": "attach", "body": {"instruction": 7, "consumer": "c"}}),
            "attach",
            Some("c"),
            true,
        ),
        (
            json!({"notice": "attach", "body": {
                "instruction": 7, "consumer": "c", "producer": "p", "trigger": "later",
                "automasked": false,
            }}),
            "attach",
            Some("c"),
            true,
        ),
        (
            json!({"notice": "later", "body": {"instruction": 7, "consumer": ["c"]}}),
            "later",
            None,
            true,
        ),
        (
            json!({"notice": "detach", "body": {"instruction": 7}}),
            "detach",
            None,
            false,
        ),
    ] {
        let frame = ServerFrame::decode(packet.to_string().as_bytes()).unwrap();
        let ServerFrame::Unread(unread) = frame else {
            panic!("{packet}: {frame:?}");
        };
        assert_eq!(unread.instruction, InstructionId(7));
        assert_eq!(unread.notice, kind);
        assert_eq!(unread.consumer.as_ref().map(Name::as_str), consumer);
        assert_eq!(unread.may_be_declined(), may_be_declined);
    }
}

/// Each place of a request where there are fields, as JSON pointers into its body.
#[test]
fn request_with_a_field_more_in_any_object_is_refused() {
    let pin = json!({"pin": {"gsi": 4}});
    let msi = json!({"msi": {"gsi": 24, "address": 1, "data": 2}});
    let reason = json!({"code": "declined", "text": "no"});
    let done = json!({"instruction": 1, "outcome": {"done": {"state": "relay", "reason": reason}}});
    let declined = json!({"instruction": 1, "outcome": {"declined": {"reason": reason}}});
    let producer = json!({"name": "p", "message": {"address": 1, "data": 2}});
    let member = json!({"type": "register-producer", "body": producer});
    let done_reason = "/outcome/done/reason";
    for (kind, body, objects) in [
        (
            "hello",
            json!({"versions": [1], "client": "x", "scopes": []}),
            vec![""],
        ),
        ("register-producer", producer, vec!["", "/message"]),
        (
            "register-consumer",
            json!({"name": "c", "route": pin}),
            vec!["", "/route/pin"],
        ),
        (
            "register-consumer",
            json!({"name": "c", "route": msi}),
            vec!["/route/msi"],
        ),
        (
            "unregister",
            json!({"side": "producer", "name": "p"}),
            vec![""],
        ),
        (
            "report",
            json!({"name": "c", "state": "relay", "reason": reason, "route": pin}),
            vec!["", "/reason", "/route/pin"],
        ),
        ("answer", done, vec!["", "/outcome/done", done_reason]),
        (
            "answer",
            declined,
            vec!["/outcome/declined", "/outcome/declined/reason"],
        ),
        // So many that it is read in one pass, where nothing is unusual.
        (
            "batch",
            json!({"requests": vec![member; 20]}),
            vec![
                "",
                "/requests/3",
                "/requests/3/body",
                "/requests/3/body/message",
            ],
        ),
        ("status", json!({}), vec![""]),
        ("links", json!({}), vec![""]),
        ("explain", json!({"link": "l"}), vec![""]),
        ("set-path", json!({"link": "l", "path": "auto"}), vec![""]),
        ("watch", json!({}), vec![""]),
        ("vgpu-list", json!({}), vec![""]),
        ("vgpu-create", json!({"type": "small"}), vec![""]),
        ("vgpu-destroy", json!({"uuid": "u"}), vec![""]),
    ] {
        read_request(kind, &body).unwrap();
        for object in objects {
            let mut more = body.clone();
            more.pointer_mut(object).unwrap()["later"] = 1.into();
            let error = read_request(kind, &more).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidField, "{kind}: {more}");
        }
    }
}

#[test]
fn request_with_an_unknown_word_is_refused() {
    let reason = json!({"code": "later", "text": "no"});
    let known = json!({"code": "best", "text": "yes"});
    for word in ["later", "other"] {
        for (kind, body) in [
            ("set-path", json!({"link": "l", "path": word})),
            ("report", json!({"name": "c", "state": word})),
            (
                "report",
                json!({"name": "c", "state": "relay", "reason": reason}),
            ),
            ("register-consumer", json!({"name": "c", "route": word})),
            (
                "register-consumer",
                json!({"name": "c", "route": {word: {"gsi": 1}}}),
            ),
            (
                "answer",
                json!({"instruction": 1, "outcome": {"done": {"state": word, "reason": known}}}),
            ),
            (
                "answer",
                json!({"instruction": 1, "outcome": {"declined": {"reason": reason}}}),
            ),
        ] {
            let error = read_request(kind, &body).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidField, "{kind}: {body}");
        }
    }
}

fn read_request(kind: &str, body: &Value) -> Result<Request, WireError> {
    let packet = json!({"id": 1, "type": kind, "body": body}).to_string();
    RequestFrame::decode(packet.as_bytes()).unwrap().request
}
