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
    ]
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
