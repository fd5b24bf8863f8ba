//! Too much of everything: messages, connections, and notices that nobody reads.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use irqbroker_protocol::Client;
use irqbroker_protocol::Connection;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::Hello;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use irqbroker_protocol::Side;
use irqbroker_protocol::Unregister;
use libtest_mimic::Trial;

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

/// Notices of at least 50 bytes each, ten times what may wait for a peer.
const UNREAD: usize = 200_000;

/// Far more connections than a uid may have.
const CONNECTIONS: usize = 10_000;

/// Malformed messages, unless `IRQBROKER_MALFORMED` says otherwise.
const MALFORMED: u64 = 5_000;

pub(crate) fn stories() -> Vec<Trial> {
    let nothing = Need::Nothing;
    vec![
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
    let mut sent = 0;
    // Its own connection comes on top while it asks.
    while daemon.status()?.connections > before {
        for _ in 0..500 {
            ask(&mut busy, &register, &[&sink])?;
            ask(&mut busy, &unregister, &[])?;
            sent += 2;
        }
        ensure!(sent < UNREAD, "it is still connected");
    }
    bystander.works()
}

fn connections() -> anyhow::Result<()> {
    let daemon = Daemon::start("connections.sock")?;
    let bystander = Bystander::new(&daemon)?;
    let mut open = Vec::new();
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
        ensure!(open.len() < CONNECTIONS, "there is no limit");
    }
    bystander.works()?;
    drop(open);
    let until = Instant::now() + PATIENCE;
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
