//! `irqbroker watch`: a line for each event, and an end when the daemon ends.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Stdio;

use anyhow::Context;
use anyhow::ensure;
use libtest_mimic::Trial;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use serde_json::Value;

use crate::command::irqbroker;
use crate::daemon::Daemon;
use crate::daemon::Pair;
use crate::daemon::STRICT;
use crate::need::Need;
use crate::need::story;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story("watch_prints_each_event_on_a_line", Need::Nothing, watch),
        story("watch_ends_when_the_daemon_does", Need::Nothing, watch_ends),
    ]
}

/// A watching process and its lines.
pub(crate) fn watching(daemon: &Daemon) -> anyhow::Result<(Child, BufReader<ChildStdout>)> {
    let socket = daemon.socket();
    let mut command = irqbroker();
    command.args(["watch", "--json", "--control", &socket]);
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(process.stdout.take().context("no stdout")?);
    // Each look is an event: once one is printed, the watcher watches.
    daemon.until(&["status"], |_| has_something(lines.get_ref()))?;
    Ok((process, lines))
}

fn has_something(pipe: &ChildStdout) -> bool {
    let mut fds = [PollFd::new(pipe, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

fn watch() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let (mut watcher, lines) = watching(&daemon)?;
    let pair = Pair::register(&daemon, "head0")?;
    drop(pair);
    let mut seen = Vec::new();
    for line in lines.lines() {
        let event: Value = serde_json::from_str(&line?)?;
        let name = event["event"].as_str().context("no event")?.to_owned();
        ensure!(
            event["sequence"].is_u64() && event["at_ms"].is_u64(),
            "{event}"
        );
        let left = name == "unregistered" && event["side"] == "consumer";
        seen.push(name);
        if left {
            break;
        }
    }
    watcher.kill()?;
    watcher.wait()?;
    for name in ["connected", "registered", "delivery", "unregistered"] {
        ensure!(
            seen.iter().any(|seen| seen == name),
            "no {name} in {seen:?}"
        );
    }
    Ok(())
}

fn watch_ends() -> anyhow::Result<()> {
    let mut daemon = Daemon::start(STRICT)?;
    let (mut watcher, mut lines) = watching(&daemon)?;
    daemon.signal(rustix::process::Signal::TERM)?;
    ensure!(daemon.wait()?.success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest)?;
    let ended = watcher.wait()?;
    let mut told = String::new();
    watcher
        .stderr
        .take()
        .context("no stderr")?
        .read_to_string(&mut told)?;
    ensure!(ended.code() == Some(1), "{ended}");
    ensure!(told.starts_with("irqbroker: shutting-down: "), "{told}");
    ensure!(told.lines().count() == 1, "{told}");
    Ok(())
}
