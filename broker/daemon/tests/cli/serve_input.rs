//! Bad input: each kind has its code, and no other peer notices.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker_protocol::Batch;
use irqbroker_protocol::Client;
use irqbroker_protocol::Connection;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::Explain;
use irqbroker_protocol::Hello;
use irqbroker_protocol::InstructionId;
use irqbroker_protocol::MAX_MESSAGE;
use irqbroker_protocol::Notice;
use irqbroker_protocol::ReceiveError;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use irqbroker_protocol::ServerFrame;
use irqbroker_protocol::Side;
use irqbroker_protocol::Trigger;
use irqbroker_protocol::Unregister;
use libtest_mimic::Trial;
use rustix::event::EventfdFlags;

use crate::bystander::Bystander;
use crate::bystander::raw;
use crate::need::Need;
use crate::need::story;
use crate::serve_rig::Daemon;
use crate::serve_rig::PATIENCE;
use crate::serve_rig::ask;
use crate::serve_rig::consumer;
use crate::serve_rig::eventfd;
use crate::serve_rig::name;
use crate::serve_rig::producer;
use crate::serve_rig::refused;

pub(crate) fn stories() -> Vec<Trial> {
    let nothing = Need::Nothing;
    vec![
        story(
            "serve_refuses_each_bad_request_with_its_code",
            nothing,
            bad_requests,
        ),
        story("serve_refuses_each_bad_fd_with_its_code", nothing, bad_fds),
        story("serve_refuses_what_is_there_already", nothing, duplicates),
        story("serve_refuses_what_a_scope_does_not_cover", nothing, scopes),
        story(
            "serve_closes_on_what_is_no_message_and_says_why",
            nothing,
            no_messages,
        ),
        story("serve_does_all_of_a_batch_or_nothing", nothing, batches),
    ]
}

/// A socket with the handshake done, to send anything on.
fn greeted(daemon: &Daemon) -> anyhow::Result<Connection> {
    let mut connection = raw(daemon)?;
    let hello =
        br#"{"id":1,"type":"hello","body":{"versions":[1],"client":"x","scopes":["producer"]}}"#;
    connection.send(hello, &[])?;
    connection.receive()?;
    Ok(connection)
}

/// The code of the next message, which has to be a refusal or a farewell.
fn next_code(connection: &mut Connection) -> anyhow::Result<ErrorCode> {
    match ServerFrame::decode(connection.receive()?.bytes)? {
        ServerFrame::Response {
            result: Err(error), ..
        } => Ok(error.code),
        ServerFrame::Notice(Notice::Closing(closing)) => Ok(closing.code),
        other => bail!("not refused: {other:?}"),
    }
}

fn is_closed(connection: &mut Connection) -> anyhow::Result<()> {
    match connection.receive() {
        Err(ReceiveError::Closed) => Ok(()),
        other => bail!("still open: {other:?}"),
    }
}

fn bad_requests() -> anyhow::Result<()> {
    let daemon = Daemon::start("requests.sock")?;
    let bystander = Bystander::new(&daemon)?;
    let mut connection = greeted(&daemon)?;
    for (body, code) in [
        (
            r#"{"id":2,"type":"no-such-thing"}"#,
            ErrorCode::UnknownRequest,
        ),
        (
            r#"{"id":2,"type":"register-producer","body":{}}"#,
            ErrorCode::InvalidField,
        ),
        (
            r#"{"id":2,"type":"register-producer","body":{"name":"a","colour":1}}"#,
            ErrorCode::InvalidField,
        ),
        (
            r#"{"id":2,"type":"register-producer","body":{"name":"no spaces"}}"#,
            ErrorCode::InvalidField,
        ),
        (
            r#"{"id":2,"type":"register-producer","body":{"name":"a"}}"#,
            ErrorCode::FdCount,
        ),
        (
            r#"{"id":2,"type":"batch","body":{"requests":[{"type":"batch"}]}}"#,
            ErrorCode::InvalidField,
        ),
    ] {
        connection.send(body.as_bytes(), &[])?;
        let answered = next_code(&mut connection)?;
        ensure!(answered == code, "{body}: {answered}");
    }
    let mut client = daemon.client()?;
    for (request, code) in [
        (
            Request::Explain(Explain {
                link: "no link".into(),
            }),
            ErrorCode::UnknownLink,
        ),
        (Request::VgpuList, ErrorCode::NotSupported),
        (
            Request::Unregister(Unregister {
                side: Side::Producer,
                name: name("by.producer")?,
            }),
            ErrorCode::UnknownName,
        ),
        (
            Request::Answer(irqbroker_protocol::Answer {
                instruction: InstructionId(1),
                outcome: irqbroker_protocol::Outcome::Declined {
                    reason: irqbroker_protocol::Reason::new(
                        irqbroker_protocol::ReasonCode::Declined,
                        "no",
                    ),
                },
            }),
            ErrorCode::UnknownInstruction,
        ),
    ] {
        let answered = refused(&mut client, &request, &[])?;
        ensure!(answered == code, "{}: {answered}", request.kind());
    }
    bystander.works()
}

fn bad_fds() -> anyhow::Result<()> {
    let daemon = Daemon::start("fds.sock")?;
    let bystander = Bystander::new(&daemon)?;
    let mut client = daemon.client()?;
    let null: OwnedFd = std::fs::File::open("/dev/null")?.into();
    let semaphore = rustix::event::eventfd(0, EventfdFlags::SEMAPHORE)?;
    let register = Request::RegisterProducer(producer("f")?);
    let before = daemon.open_fds()?;
    for (fds, code) in [
        (vec![], ErrorCode::FdCount),
        (vec![&null], ErrorCode::NotEventfd),
        (vec![&semaphore], ErrorCode::SemaphoreEventfd),
        (vec![&null, &null], ErrorCode::FdCount),
        (vec![&null; 253], ErrorCode::FdCount),
    ] {
        let answered = refused(&mut client, &register, &fds)?;
        ensure!(answered == code, "{} fds: {answered}", fds.len());
    }
    let hello = Hello::new("x", &[Scope::Consumer]);
    let record = Client::connect_with_record(Path::new(&daemon.socket), &hello, Some(null.as_fd()));
    let code = record
        .err()
        .and_then(|error| error.refusal().map(|one| one.code));
    ensure!(code == Some(ErrorCode::InvalidClaimRecord), "{code:?}");
    let until = Instant::now() + PATIENCE;
    while daemon.open_fds()? != before {
        ensure!(Instant::now() < until, "fds are left open");
    }
    bystander.works()
}

fn duplicates() -> anyhow::Result<()> {
    let daemon = Daemon::start("duplicates.sock")?;
    let bystander = Bystander::new(&daemon)?;
    let (mut first, mut other) = (daemon.client()?, daemon.client()?);
    let (event, another) = (eventfd()?, eventfd()?);
    let register = Request::RegisterProducer(producer("d")?);
    ask(&mut first, &register, &[&event])?;
    // Again by the same connection: it is there already, and that is well.
    ask(&mut first, &register, &[&event])?;
    let renamed = |link: Option<&str>, called: &str| -> anyhow::Result<Request> {
        Ok(Request::RegisterProducer(RegisterProducer {
            link: link.map(name).transpose()?,
            ..RegisterProducer::edge(name(called)?)
        }))
    };
    for (request, event, code) in [
        (register.clone(), &event, ErrorCode::DuplicateName),
        (renamed(None, "e")?, &event, ErrorCode::DuplicateToken),
        (renamed(Some("d"), "e")?, &another, ErrorCode::LinkTaken),
    ] {
        let answered = refused(&mut other, &request, &[event])?;
        ensure!(answered == code, "{answered}, not {code}");
    }
    let level = Request::RegisterProducer(RegisterProducer {
        trigger: Trigger::Level,
        ..producer("level")?
    });
    let edge_only = Request::RegisterConsumer(consumer("level", ConsumerTakes::OwnRead)?);
    ask(&mut other, &edge_only, &[&another])?;
    let answered = refused(&mut first, &level, &[&eventfd()?])?;
    ensure!(answered == ErrorCode::Mismatch, "{answered}");
    bystander.works()
}

fn scopes() -> anyhow::Result<()> {
    let daemon = Daemon::start("scopes.sock")?;
    let event = eventfd()?;
    let mut reading = daemon.client_as(&[Scope::ReadOnly])?;
    let mut producing = daemon.client_as(&[Scope::Producer])?;
    let register = Request::RegisterProducer(producer("s")?);
    let consume = Request::RegisterConsumer(consumer("s", ConsumerTakes::OwnRead)?);
    for (client, request, fds) in [
        (&mut reading, &register, vec![&event]),
        (&mut producing, &consume, vec![&event]),
    ] {
        let answered = refused(client, request, &fds)?;
        ensure!(answered == ErrorCode::ScopeRequired, "{answered}");
    }
    let answered = refused(&mut producing, &Request::Status, &[])?;
    ensure!(answered == ErrorCode::ScopeRequired, "{answered}");
    Ok(())
}

fn no_messages() -> anyhow::Result<()> {
    let daemon = Daemon::start("messages.sock")?;
    let bystander = Bystander::new(&daemon)?;
    let long = vec![b' '; MAX_MESSAGE + 1];
    for (bytes, code) in [
        (&b"not json"[..], ErrorCode::MalformedMessage),
        (&b"[]"[..], ErrorCode::MalformedMessage),
        (&br#"{"id":1}"#[..], ErrorCode::MalformedMessage),
        (
            &br#"{"id":1,"type":"status","more":1}"#[..],
            ErrorCode::MalformedMessage,
        ),
        (
            &br#"{"id":1,"type":"hello","body":{"versions":[1],"client":"","scopes":[]}}"#[..],
            ErrorCode::HandshakeExpected,
        ),
        (&long[..], ErrorCode::OversizedMessage),
    ] {
        let mut connection = greeted(&daemon)?;
        // Past the crate's own check of the length.
        rustix::net::send(connection.as_fd(), bytes, rustix::net::SendFlags::NOSIGNAL)?;
        let answered = next_code(&mut connection)?;
        ensure!(answered == code, "{} bytes: {answered}", bytes.len());
        is_closed(&mut connection)?;
    }
    let mut connection = raw(&daemon)?;
    connection.send(br#"{"id":1,"type":"status"}"#, &[])?;
    ensure!(next_code(&mut connection)? == ErrorCode::HandshakeExpected);
    is_closed(&mut connection)?;
    let mut connection = raw(&daemon)?;
    let hello = br#"{"id":1,"type":"hello","body":{"versions":[2],"client":"","scopes":[]}}"#;
    connection.send(hello, &[])?;
    ensure!(next_code(&mut connection)? == ErrorCode::UnsupportedVersion);
    is_closed(&mut connection)?;
    bystander.works()
}

fn batches() -> anyhow::Result<()> {
    let daemon = Daemon::start("batches.sock")?;
    let mut client = daemon.client()?;
    let events: Result<Vec<OwnedFd>, _> = (0..3).map(|_| eventfd()).collect();
    let events = events?;
    let null: OwnedFd = std::fs::File::open("/dev/null")?.into();
    let requests: Result<Vec<Request>, _> = ["b0", "b1", "b2"]
        .map(|link| producer(link).map(Request::RegisterProducer))
        .into_iter()
        .collect();
    let batch = Request::Batch(Batch {
        requests: requests?,
    });
    let fds = [events[0].as_fd(), events[1].as_fd(), null.as_fd()];
    let error = client.request::<serde_json::Value>(&batch, &fds).err();
    let error = error.context("not refused")?;
    let refusal = error.refusal().context("no refusal")?;
    ensure!(
        refusal.code == ErrorCode::NotEventfd && refusal.index == Some(2),
        "{refusal:?}"
    );
    ensure!(client.links()?.is_empty(), "half a batch");
    let fds: Vec<&OwnedFd> = events.iter().collect();
    ask(&mut client, &batch, &fds)?;
    ensure!(client.links()?.len() == 3);
    Ok(())
}
