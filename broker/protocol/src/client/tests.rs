use super::*;

use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;

use crate::frame::RequestFrame;
use crate::instruction::InstructionId;
use crate::reply::Done;

/// The two ends of a connection.
fn pair() -> (Connection, Connection) {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let (a, b) = rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None).unwrap();
    (Connection::new(a), Connection::new(b))
}

/// What a client hears that waits for the answer to request 1: `notice` comes first.
fn hear(client: &mut Connection, daemon: &Connection, notice: &str) -> Result<(), ClientError> {
    daemon.send(notice.as_bytes(), &[]).unwrap();
    let done = ServerFrame::encode_ok(1, &Done {}).unwrap();
    daemon.send(&done, &[]).unwrap();
    let mut notices = VecDeque::new();
    let Reply { body: Done {}, .. } = answer(client, &mut notices, 1)?;
    assert!(notices.is_empty());
    Ok(())
}

#[test]
fn instruction_that_cannot_be_read_is_declined_while_an_answer_is_waited_for() {
    let (mut client, mut daemon) = pair();
    let notice = r#"{"notice":"attach","body":{"instruction":7,"consumer":"c"}}"#;
    hear(&mut client, &daemon, notice).unwrap();
    let frame = RequestFrame::decode(daemon.receive().unwrap().bytes).unwrap();
    let Ok(Request::Answer(answer)) = frame.request else {
        panic!("{frame:?}");
    };
    assert_eq!(answer.instruction, InstructionId(7));
    assert!(matches!(answer.outcome, Outcome::Declined { .. }));
}

#[test]
fn detach_that_cannot_be_read_is_an_error() {
    let (mut client, daemon) = pair();
    let notice = r#"{"notice":"detach","body":{"instruction":7}}"#;
    let error = hear(&mut client, &daemon, notice).unwrap_err();
    assert!(matches!(error, ClientError::Unread { notice } if notice == "detach"));
}
