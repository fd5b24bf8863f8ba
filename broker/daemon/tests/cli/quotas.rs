//! What one user may take of a daemon: beyond it a refusal, and nobody else is the worse.

use std::os::fd::AsFd;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_protocol::Client;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::daemon::Pair;
use crate::daemon::STRICT;
use crate::need::Need;
use crate::need::story;
use crate::serve_rig::eventfd;
use crate::serve_rig::producer;

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
    ]
}

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

fn rate() -> anyhow::Result<()> {
    let daemon = Daemon::start(&format!("quotas.requests_per_second = 50\n{STRICT}"))?;
    let pair = Pair::register(&daemon, "others")?;
    let mut client = daemon.connect(&[Scope::Producer])?;
    let (done, code) = fill(&mut client, "first")?;
    ensure!(code == ErrorCode::RateExceeded, "{code:?} after {done}");
    // As many at once as in a second, and some more while they are asked on a slow machine.
    ensure!(done < 1000, "{done}");
    // What is matched needs no request.
    pair.deliver()
}
