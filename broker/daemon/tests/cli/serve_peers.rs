//! Peers that die: what becomes of what they registered.

use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_protocol::Client;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::Hello;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use libtest_mimic::Trial;

use crate::need::Need;
use crate::need::story;
use crate::serve_rig::Daemon;
use crate::serve_rig::PATIENCE;
use crate::serve_rig::ask;
use crate::serve_rig::consumer;
use crate::serve_rig::eventfd;
use crate::serve_rig::from_environment;
use crate::serve_rig::producer;
use crate::serve_rig::signal;
use crate::serve_rig::wait_taken;

/// Peers that come and die, unless `IRQBROKER_CYCLES` says otherwise.
const CYCLES: u64 = 500;

pub(crate) fn stories() -> Vec<Trial> {
    let nothing = Need::Nothing;
    vec![
        story(
            "serve_withdraws_what_a_dead_peer_registered",
            nothing,
            withdrawn,
        ),
        story(
            "serve_keeps_what_lingers_until_it_is_handed_over",
            nothing,
            lingering,
        ),
        story("serve_withdraws_what_lingered_too_long", nothing, expired),
        story(
            "serve_grows_with_no_peer_that_came_and_died",
            nothing,
            cycles,
        ),
    ]
}

fn withdrawn() -> anyhow::Result<()> {
    let daemon = Daemon::start("withdrawn.sock")?;
    let (source, sink) = (eventfd()?, eventfd()?);
    let (mut producing, mut consuming) = (daemon.client()?, daemon.client()?);
    ask(
        &mut producing,
        &Request::RegisterProducer(producer("w")?),
        &[&source],
    )?;
    let request = Request::RegisterConsumer(consumer("w", ConsumerTakes::OwnRead)?);
    ask(&mut consuming, &request, &[&sink])?;
    signal(&source)?;
    drop(producing);
    // What it signalled before it died is delivered.
    ensure!(wait_taken(&sink)? == 1);
    daemon.links_once(|rows| rows.len() == 1 && rows[0].producer.is_none())?;
    drop(consuming);
    daemon.links_once(<[_]>::is_empty)?;
    let status = daemon.status()?;
    ensure!(status.fds == 0, "{status:?}");
    Ok(())
}

/// A connection whose objects outlive it for so long.
fn lingering_client(daemon: &Daemon, linger_ms: u32) -> anyhow::Result<Client> {
    let hello = Hello {
        linger_ms,
        ..Hello::new("lingering", &Scope::ALL)
    };
    Ok(Client::connect(
        std::path::Path::new(&daemon.socket),
        &hello,
    )?)
}

fn lingering() -> anyhow::Result<()> {
    let daemon = Daemon::start("linger.sock")?;
    let (source, sink) = (eventfd()?, eventfd()?);
    let mut producing = daemon.client()?;
    ask(
        &mut producing,
        &Request::RegisterProducer(producer("l")?),
        &[&source],
    )?;
    // Longer than the story takes.
    let mut old = lingering_client(&daemon, 30_000)?;
    let request = Request::RegisterConsumer(consumer("l", ConsumerTakes::OwnRead)?);
    ask(&mut old, &request, &[&sink])?;
    drop(old);
    let until = Instant::now() + PATIENCE;
    while daemon.status()?.lingering == 0 {
        ensure!(Instant::now() < until, "it does not linger");
    }
    signal(&source)?;
    ensure!(wait_taken(&sink)? == 1, "not relayed while lingering");
    let mut new = lingering_client(&daemon, 0)?;
    ask(&mut new, &request, &[&sink])?;
    ensure!(daemon.status()?.lingering == 0);
    signal(&source)?;
    ensure!(wait_taken(&sink)? == 1, "not relayed after the hand-over");
    Ok(())
}

fn expired() -> anyhow::Result<()> {
    let daemon = Daemon::start("expired.sock")?;
    let mut old = lingering_client(&daemon, 50)?;
    ask(
        &mut old,
        &Request::RegisterProducer(producer("l")?),
        &[&eventfd()?],
    )?;
    // By itself: nobody asks the daemon anything until it has done it.
    let mut watching = daemon.client()?;
    ask(&mut watching, &Request::Watch, &[])?;
    drop(old);
    loop {
        let (notice, _) = watching.notice(Some(PATIENCE))?.context("not withdrawn")?;
        if let irqbroker_protocol::Notice::Event(event) = notice
            && matches!(
                event.kind,
                irqbroker_protocol::EventKind::Unregistered { .. }
            )
        {
            break;
        }
    }
    daemon.links_once(<[_]>::is_empty).map(drop)
}

fn cycles() -> anyhow::Result<()> {
    let cycles = from_environment("IRQBROKER_CYCLES", CYCLES)?;
    let daemon = Daemon::start("cycles.sock")?;
    let cycle = || -> anyhow::Result<()> {
        let mut client = daemon.client()?;
        let (source, sink) = (eventfd()?, eventfd()?);
        ask(
            &mut client,
            &Request::RegisterProducer(producer("c")?),
            &[&source],
        )?;
        let request = Request::RegisterConsumer(consumer("c", ConsumerTakes::OwnRead)?);
        ask(&mut client, &request, &[&sink])?;
        signal(&source)?;
        drop(client);
        daemon.links_once(<[_]>::is_empty).map(drop)
    };
    // What the first ones make grow stays: tables, the allocator's arenas.
    for _ in 0..cycles / 5 {
        cycle()?;
    }
    let (fds, memory) = (daemon.open_fds()?, daemon.proc_status("VmRSS")?);
    for _ in 0..cycles {
        cycle()?;
    }
    // The last of them may not have been closed yet.
    let until = Instant::now() + PATIENCE;
    while daemon.open_fds()? > fds {
        ensure!(Instant::now() < until, "fds grew from {fds}");
    }
    let grown = daemon.proc_status("VmRSS")?.saturating_sub(memory);
    // Kilobytes: some pages of the allocator's, and no more at the full count than at the small one.
    ensure!(grown <= 256, "memory grew by {grown} KiB");
    Ok(())
}
