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
use crate::serve_rig::signal;
use crate::serve_rig::wait_taken;

/// Malformed messages, unless `IRQBROKER_MALFORMED` says otherwise.
const MALFORMED: u64 = 5_000;

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
        story(
            "serve_drops_a_peer_that_does_not_read",
            nothing,
            slow_reader,
        ),
        story(
            "serve_refuses_more_connections_than_a_uid_may_have",
            nothing,
            connections,
        ),
        story(
            "serve_survives_malformed_messages_and_leaks_nothing",
            nothing,
            malformed,
        ),
    ]
}

/// A link that works before and after whatever else a story does.
struct Bystander {
    _client: Client,
    source: OwnedFd,
    sink: OwnedFd,
}

impl Bystander {
    fn new(daemon: &Daemon) -> anyhow::Result<Self> {
        let (mut client, source, sink) = (daemon.client()?, eventfd()?, eventfd()?);
        ask(
            &mut client,
            &Request::RegisterProducer(producer("by")?),
            &[&source],
        )?;
        let request = Request::RegisterConsumer(consumer("by", ConsumerTakes::OwnRead)?);
        ask(&mut client, &request, &[&sink])?;
        Ok(Self {
            _client: client,
            source,
            sink,
        })
    }

    /// It still works.
    fn works(&self) -> anyhow::Result<()> {
        signal(&self.source)?;
        ensure!(wait_taken(&self.sink)? == 1);
        Ok(())
    }
}

/// A socket to the daemon, without a handshake.
fn raw(daemon: &Daemon) -> anyhow::Result<Connection> {
    Ok(Connection::connect(Path::new(&daemon.socket))?)
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

fn slow_reader() -> anyhow::Result<()> {
    let daemon = Daemon::start("slow.sock")?;
    let bystander = Bystander::new(&daemon)?;
    // Somebody whose objects are told of every change, and who never reads.
    let mut deaf = daemon.client()?;
    let request = Request::RegisterProducer(producer("slow")?);
    ask(&mut deaf, &request, &[&eventfd()?])?;
    let before = daemon.status()?.connections;
    let mut busy = daemon.client_as(&[Scope::Consumer])?;
    let sink = eventfd()?;
    let register = Request::RegisterConsumer(consumer("slow", ConsumerTakes::OwnRead)?);
    let unregister = Request::Unregister(Unregister {
        side: Side::Consumer,
        name: name("slow.consumer")?,
    });
    let until = Instant::now() + PATIENCE;
    // Its own connection comes on top while it asks.
    while daemon.status()?.connections > before {
        for _ in 0..500 {
            ask(&mut busy, &register, &[&sink])?;
            ask(&mut busy, &unregister, &[])?;
        }
        ensure!(Instant::now() < until, "it is still connected");
    }
    bystander.works()
}

fn connections() -> anyhow::Result<()> {
    let daemon = Daemon::start("connections.sock")?;
    let bystander = Bystander::new(&daemon)?;
    let mut open = Vec::new();
    let until = Instant::now() + PATIENCE;
    loop {
        let hello = Hello::new("one of many", &[Scope::ReadOnly]);
        match Client::connect(Path::new(&daemon.socket), &hello) {
            Ok(client) => open.push(client),
            // Told, or closed before the hello could be sent.
            Err(error) => match error.refusal() {
                Some(refusal) => {
                    ensure!(refusal.code == ErrorCode::QuotaExceeded, "{refusal}");
                    break;
                }
                None => ensure!(!open.is_empty(), "{error:?}"),
            },
        }
        ensure!(
            open.len() < 10_000 && Instant::now() < until,
            "there is no limit"
        );
    }
    bystander.works()?;
    drop(open);
    while daemon.client().is_err() {
        ensure!(Instant::now() < until, "they are not given back");
    }
    Ok(())
}

fn malformed() -> anyhow::Result<()> {
    let count = match std::env::var("IRQBROKER_MALFORMED") {
        Ok(text) => text.parse()?,
        Err(_) => MALFORMED,
    };
    let daemon = Daemon::start("malformed.sock")?;
    let bystander = Bystander::new(&daemon)?;
    let seeds: [&[u8]; 6] = [
        br#"{"id":1,"type":"register-producer","body":{"name":"m","link":"m"}}"#,
        br#"{"id":2,"type":"register-consumer","body":{"name":"m","link":"m","takes":"attach"}}"#,
        br#"{"id":3,"type":"batch","body":{"requests":[{"type":"unregister","body":{"side":"producer","name":"m"}}]}}"#,
        br#"{"id":4,"type":"report","body":{"name":"m","masked":true,"route":{"pin":{"gsi":4}}}}"#,
        br#"{"id":5,"type":"answer","body":{"instruction":1,"outcome":{"declined":{"reason":{"code":"declined","text":""}}}}}"#,
        br#"{"id":6,"type":"links","body":{"after":0}}"#,
    ];
    let mut random = fastrand::Rng::with_seed(8);
    let mut connection = all_scopes(&daemon)?;
    let (fds, memory) = (daemon.open_fds()?, daemon.proc_status("VmRSS")?);
    for _ in 0..count {
        let mut bytes = seeds[random.usize(..seeds.len())].to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..3) {
                0 => bytes[at] = random.u8(..),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, *random.choice(br#"{}[]",:0e-"#).unwrap_or(&b'"')),
            }
        }
        let event = eventfd()?;
        let with: Vec<_> = (0..random.usize(..3)).map(|_| event.as_fd()).collect();
        let alive = connection.send(&bytes, &with).is_ok() && connection.receive().is_ok();
        if !alive || random.u8(..) == 0 {
            connection = all_scopes(&daemon)?;
        }
    }
    drop(connection);
    bystander.works()?;
    let until = Instant::now() + PATIENCE;
    while daemon.open_fds()? >= fds {
        ensure!(
            Instant::now() < until,
            "fds grew from {fds} to {}",
            daemon.open_fds()?
        );
    }
    let grown = daemon.proc_status("VmRSS")?.saturating_sub(memory);
    ensure!(grown <= 512, "memory grew by {grown} KiB");
    Ok(())
}

/// A greeted socket with every scope.
fn all_scopes(daemon: &Daemon) -> anyhow::Result<Connection> {
    let mut connection = raw(daemon)?;
    let hello = br#"{"id":1,"type":"hello","body":{"versions":[1],"client":"x","scopes":["producer","consumer","operator"]}}"#;
    connection.send(hello, &[])?;
    connection.receive()?;
    Ok(connection)
}
