//! The daemon's own life: how it starts, rests and ends.

use anyhow::Context;
use anyhow::ensure;
use irqbroker_protocol::Answer;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::Notice;
use irqbroker_protocol::Outcome;
use irqbroker_protocol::Reason;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::Request;
use irqbroker_protocol::State;
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::command::run;
use crate::need::Need;
use crate::need::story;
use crate::serve_rig::Daemon;
use crate::serve_rig::PATIENCE;
use crate::serve_rig::ask;
use crate::serve_rig::attach_notice;
use crate::serve_rig::consumer;
use crate::serve_rig::eventfd;
use crate::serve_rig::producer;
use crate::serve_rig::signal;
use crate::serve_rig::taken;
use crate::serve_rig::wait_taken;

pub(crate) fn stories() -> Vec<Trial> {
    let nothing = Need::Nothing;
    vec![
        story(
            "serve_ends_on_sigterm_and_leaves_no_socket",
            nothing,
            sigterm,
        ),
        story("serve_beside_another_daemon_is_refused", nothing, second),
        story(
            "serve_where_nothing_can_be_written_is_refused",
            nothing,
            unwritable,
        ),
        story(
            "serve_sleeps_while_idle_and_while_the_kernel_delivers",
            nothing,
            asleep,
        ),
        story(
            "serve_relays_an_interrupt_with_one_read_and_no_write",
            Need::Aio,
            relayed,
        ),
    ]
}

/// Interrupts that are counted, each after the one before.
const RELAYED: u64 = 500;

fn relayed() -> anyhow::Result<()> {
    let daemon = Daemon::start("relayed.sock")?;
    let mut client = daemon.client()?;
    let (source, sink) = (eventfd()?, eventfd()?);
    let register = Request::RegisterProducer(producer("counted")?);
    ask(&mut client, &register, &[&source])?;
    let register = Request::RegisterConsumer(consumer("counted", ConsumerTakes::OwnRead)?);
    ask(&mut client, &register, &[&sink])?;
    let interrupt = || -> anyhow::Result<()> {
        signal(&source)?;
        ensure!(wait_taken(&sink)? == 1);
        Ok(())
    };
    // Whatever the daemon does at the first.
    interrupt()?;
    let calls = || -> anyhow::Result<(u64, u64)> {
        let number = |key| daemon.proc_number("io", key);
        Ok((number("syscr")?, number("syscw")?))
    };
    let before = calls()?;
    for _ in 0..RELAYED {
        interrupt()?;
    }
    let after = calls()?;
    let (reads, writes) = (after.0 - before.0, after.1 - before.1);
    // Without writes there is no look before one, and no timer around it.
    ensure!(
        (reads, writes) == (RELAYED, 0),
        "{reads} reads and {writes} writes"
    );
    Ok(())
}

fn sigterm() -> anyhow::Result<()> {
    let mut daemon = Daemon::start("sigterm.sock")?;
    let mut client = daemon.client()?;
    ensure!(daemon.end(Signal::TERM)? == Some(0));
    ensure!(
        !std::path::Path::new(&daemon.socket).exists(),
        "a socket is left"
    );
    let (notice, _) = client.notice(Some(PATIENCE))?.context("not told")?;
    let told = matches!(notice, Notice::Closing(closing)
        if closing.code == irqbroker_protocol::ErrorCode::ShuttingDown);
    ensure!(told, "not told");
    Ok(())
}

fn second() -> anyhow::Result<()> {
    let mut daemon = Daemon::start("second.sock")?;
    let answer = run(&["serve", "--socket", &daemon.socket])?;
    let line = answer.refusal()?;
    ensure!(line.contains("another daemon serves"), "{line}");
    daemon.status()?;
    // Its socket file is stale then, and no obstacle.
    daemon.kill()?;
    daemon.restart()?;
    daemon.status().map(drop)
}

fn unwritable() -> anyhow::Result<()> {
    let answer = run(&["serve", "--socket", "/proc/irqbroker.sock"])?;
    let line = answer.refusal()?;
    ensure!(line.contains("cannot write"), "{line}");
    Ok(())
}

/// Events that go past the daemon, and how long it is watched doing nothing.
const MATCHED: u32 = 10_000;
const IDLE: std::time::Duration = std::time::Duration::from_secs(1);

fn asleep() -> anyhow::Result<()> {
    let daemon = Daemon::start("asleep.sock")?;
    let mut client = daemon.client()?;
    let (source, sink) = (eventfd()?, eventfd()?);
    ask(
        &mut client,
        &Request::RegisterProducer(producer("told")?),
        &[&source],
    )?;
    let request = Request::RegisterConsumer(consumer("told", ConsumerTakes::Attach)?);
    ask(&mut client, &request, &[&sink])?;
    let instruction = attach_notice(&mut client)?;
    let outcome = Outcome::Done {
        state: State::Bypass,
        reason: Reason::new(ReasonCode::Best, "bound"),
    };
    ask(
        &mut client,
        &Request::Answer(Answer {
            instruction,
            outcome,
        }),
        &[],
    )?;
    daemon.links_once(|rows| rows[0].state == State::Bypass)?;
    // A connection's end is the last thing it wakes up for.
    let settled = settled_sleeps(&daemon)?;
    for _ in 0..MATCHED {
        signal(&source)?;
        ensure!(taken(&source) == 1, "the daemon took it");
    }
    let limit = rustix::event::Timespec::try_from(IDLE)?;
    rustix::event::poll(&mut [], Some(&limit))?;
    let woken = daemon.sleeps()? - settled;
    ensure!(woken == 0, "{woken} wake-ups");
    Ok(())
}

/// How often the daemon has gone to sleep, once that number rests.
fn settled_sleeps(daemon: &Daemon) -> anyhow::Result<u64> {
    let mut last = daemon.sleeps()?;
    loop {
        let limit = rustix::event::Timespec::try_from(std::time::Duration::from_millis(100))?;
        rustix::event::poll(&mut [], Some(&limit))?;
        let now = daemon.sleeps()?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}
