//! What one user may take of a daemon: beyond it a refusal, and nobody else is the worse.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_protocol::Answer;
use irqbroker_protocol::Batch;
use irqbroker_protocol::Client;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::Outcome;
use irqbroker_protocol::Reason;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use irqbroker_protocol::Side;
use irqbroker_protocol::Unregister;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::daemon::Pair;
use crate::daemon::STRICT;
use crate::need::Need;
use crate::need::story;
use crate::serve_rig::PATIENCE;
use crate::serve_rig::ask;
use crate::serve_rig::attach_notice;
use crate::serve_rig::consumer;
use crate::serve_rig::eventfd;
use crate::serve_rig::name;
use crate::serve_rig::producer;
use crate::serve_rig::refused;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "objects_of_a_connection_and_fds_of_a_uid_are_limited",
            Need::Nothing,
            holdings,
        ),
        story(
            "requests_of_a_uid_are_limited_a_second",
            Need::Nothing,
            rate,
        ),
        story(
            "memory_of_a_uid_is_limited_whatever_it_is_for",
            Need::Nothing,
            memory,
        ),
    ]
}

/// Changes of which any hundred tell a watcher more than 10 KiB: far more than 64 KiB and a socket's
/// buffer hold.
const CHANGES: usize = 20_000;

/// Registers producers until one is refused; how many were not, and the refusal.
fn fill(client: &mut Client, prefix: &str) -> anyhow::Result<(usize, ErrorCode)> {
    // Far above any limit here.
    for index in 0..1000 {
        let request = Request::RegisterProducer(producer(&format!("{prefix}.{index}"))?);
        let event = eventfd()?;
        if let Err(error) = client.request::<Value>(&request, &[event.as_fd()]) {
            let refusal = error.refusal().with_context(|| format!("{error:?}"))?;
            return Ok((index, refusal.code));
        }
    }
    anyhow::bail!("there is no limit")
}

fn holdings() -> anyhow::Result<()> {
    let daemon = Daemon::start(&format!("quotas.objects = 5\nquotas.fds = 8\n{STRICT}"))?;
    // Two fds.
    let pair = Pair::register(&daemon, "others")?;
    let mut first = daemon.connect(&[Scope::Producer])?;
    ensure!(fill(&mut first, "first")? == (5, ErrorCode::QuotaExceeded));
    // Another connection has objects of its own, but the fds are the user's.
    let mut second = daemon.connect(&[Scope::Producer])?;
    ensure!(fill(&mut second, "second")? == (1, ErrorCode::QuotaExceeded));
    pair.deliver()?;
    // What a connection held is there again once it has closed.
    drop(first);
    daemon.until(&["links"], |links| {
        links["links"]
            .as_array()
            .is_some_and(|rows| rows.len() == 2)
    })?;
    let mut third = daemon.connect(&[Scope::Producer])?;
    ensure!(fill(&mut third, "third")? == (5, ErrorCode::QuotaExceeded));
    pair.deliver()
}

fn memory() -> anyhow::Result<()> {
    // Far more for each connection than for all of them.
    let daemon = Daemon::start(&format!(
        "quotas.memory_kib = 64\nquotas.backlog_kib = 1000000\n{STRICT}"
    ))?;
    // Two objects of 64.
    let pair = Pair::register(&daemon, "others")?;
    let mut first = daemon.connect(&[Scope::Producer])?;
    ensure!(fill(&mut first, "first")? == (62, ErrorCode::QuotaExceeded));
    let mut second = daemon.connect(&[Scope::Producer])?;
    ensure!(fill(&mut second, "second")? == (0, ErrorCode::QuotaExceeded));
    pair.deliver()?;
    drop(first);
    daemon.until(&["links"], |links| {
        links["links"]
            .as_array()
            .is_some_and(|rows| rows.len() == 1)
    })?;
    // Somebody who is told of every change and reads nothing: what waits for it leaves no room, or it is
    // dropped, whichever comes first.
    let mut deaf = daemon.connect(&[Scope::Operator])?;
    deaf.ask::<Value>(&Request::Watch)?;
    let before = connections(&daemon)?;
    let register = Request::RegisterProducer(producer("seen")?);
    let unregister = Request::Unregister(Unregister {
        side: Side::Producer,
        name: name("seen.producer")?,
    });
    let event = eventfd()?;
    let mut changes = 0;
    loop {
        if let Some(code) = refusal(&mut second, &register, &event)? {
            ensure!(code == ErrorCode::QuotaExceeded, "{code}");
            break;
        }
        ask(&mut second, &unregister, &[])?;
        changes += 1;
        if changes % 100 == 0 && connections(&daemon)? < before {
            break;
        }
        ensure!(changes < CHANGES, "there is no limit");
    }
    pair.deliver()?;
    drop(deaf);
    let until = Instant::now() + PATIENCE;
    while refusal(&mut second, &register, &event)?.is_some() {
        ensure!(Instant::now() < until, "the memory is not given back");
    }
    pair.deliver()
}

fn connections(daemon: &Daemon) -> anyhow::Result<usize> {
    let mut client = daemon.connect(&[Scope::ReadOnly])?;
    let status: irqbroker_protocol::Status = client.ask(&Request::Status)?;
    Ok(status.connections)
}

/// Why a request is refused, if it is.
fn refusal(
    client: &mut Client,
    request: &Request,
    event: &OwnedFd,
) -> anyhow::Result<Option<ErrorCode>> {
    match client.request::<Value>(request, &[event.as_fd()]) {
        Ok(_) => Ok(None),
        Err(error) => {
            let refusal = error.refusal().with_context(|| format!("{error:?}"))?;
            Ok(Some(refusal.code))
        }
    }
}

/// Requests a second of the story about them.
const RATE: usize = 50;

fn rate() -> anyhow::Result<()> {
    let daemon = Daemon::start(&format!("quotas.requests_per_second = {RATE}\n{STRICT}"))?;
    let pair = Pair::register(&daemon, "others")?;
    let mut client = daemon.connect(&[Scope::Producer])?;
    let withdrawal = || {
        let name = name("nobody")?;
        anyhow::Ok(Request::Unregister(Unregister {
            side: Side::Producer,
            name,
        }))
    };
    let batch = |count: usize| {
        let requests = (0..count)
            .map(|_| withdrawal())
            .collect::<anyhow::Result<_>>();
        anyhow::Ok(Request::Batch(Batch {
            requests: requests?,
        }))
    };
    // Told to attach, and answers after the rate is used up, at least on a machine that asks fast.
    let (mut vmm, sink) = (daemon.connect(&[Scope::Consumer])?, eventfd()?);
    let link = producer("answered")?;
    ask(
        &mut client,
        &Request::RegisterProducer(link),
        &[&eventfd()?],
    )?;
    let attaching = consumer("answered", ConsumerTakes::Attach)?;
    ask(&mut vmm, &Request::RegisterConsumer(attaching), &[&sink])?;
    let instruction = attach_notice(&mut vmm)?;
    for count in (1..=RATE).rev() {
        refused(&mut client, &batch(count)?, &[])?;
    }
    let reason = Reason::new(ReasonCode::Declined, "no");
    let outcome = Outcome::Declined { reason };
    let answer = Request::Answer(Answer {
        instruction,
        outcome,
    });
    ask(&mut vmm, &answer, &[])?;
    // More than a second's worth at once, however long nobody has asked.
    ensure!(refused(&mut client, &batch(RATE + 1)?, &[])? == ErrorCode::RateExceeded);
    // As many as that in time, and then it is about what was asked.
    let until = Instant::now() + PATIENCE;
    while refused(&mut client, &batch(RATE)?, &[])? != ErrorCode::UnknownName {
        ensure!(Instant::now() < until, "the rate never recovers");
    }
    // What is matched needs no request.
    pair.deliver()
}
