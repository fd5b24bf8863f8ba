//! How the daemon and its commands end at a terminal.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use anyhow::Context;
use anyhow::ensure;
use libtest_mimic::Trial;
use rustix::process::Pid;
use rustix::process::Signal;

use crate::command::irqbroker;
use crate::daemon::Daemon;
use crate::daemon::STRICT;
use crate::daemon::serve;
use crate::deadline::ended;
use crate::need::Need;
use crate::need::story;
use crate::report::count;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "daemon_that_is_interrupted_at_a_terminal_ends_without_a_complaint",
            Need::Nothing,
            interrupted,
        ),
        story(
            "top_ends_with_one_line_when_the_daemon_does",
            Need::Nothing,
            top_ends,
        ),
        story("usage_error_is_one_line", Need::Nothing, usage),
    ]
}

/// A terminal signals its whole foreground group.
fn interrupted() -> anyhow::Result<()> {
    let folder = Daemon::prepare(tempfile::tempdir()?, STRICT)?;
    let mut command = serve(folder.path());
    command.process_group(0).stderr(Stdio::piped());
    let mut daemon = Daemon::launch_with(folder, command)?;
    let pid = count(&daemon.report(&["status"])?, "pid")?;
    let group = Pid::from_raw(i32::try_from(pid)?).context("no pid")?;
    rustix::process::kill_process_group(group, Signal::INT)?;
    let log = daemon.end()?;
    ensure!(log.is_empty(), "{log}");
    ensure!(daemon.wait()?.success());
    Ok(())
}

fn top_ends() -> anyhow::Result<()> {
    for (signal, expected) in [
        (
            Signal::KILL,
            "irqbroker: the daemon has closed the connection; ",
        ),
        (Signal::TERM, "irqbroker: shutting-down: "),
    ] {
        let mut daemon = Daemon::start(STRICT)?;
        let socket = daemon.socket();
        let mut command = irqbroker();
        command.args(["top", "--json", "--count", "100000", "--interval", "0.1"]);
        command.args(["--control", &socket]);
        let mut top = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut tables = BufReader::new(top.stdout.take().context("no stdout")?);
        tables.read_line(&mut String::new())?;
        daemon.signal(signal)?;
        daemon.wait()?;
        tables.read_to_string(&mut String::new())?;
        let mut told = String::new();
        let mut stderr = top.stderr.take().context("no stderr")?;
        stderr.read_to_string(&mut told)?;
        ensure!(top.wait()?.code() == Some(1), "{told}");
        ensure!(told.starts_with(expected), "{told}");
        ensure!(told.lines().count() == 1, "{told}");
    }
    Ok(())
}

fn usage() -> anyhow::Result<()> {
    let commands: [(&[&str], &str); 10] = [
        (&["links", "--stat"], "'--stat'"),
        (&["links", "--state", "none"], "'none'"),
        (&["explain"], "<LINK>"),
        (&["vgpu", "create", "--type", "huge"], "'huge'"),
        (&["sevre"], "'sevre'"),
        (&["vgpu", "serve"], "--socket <PATH>"),
        (&["vgpu", "serve", "--sockt", "x"], "'--socket'"),
        (&["demo", "--heads", "0"], "1 to 16 heads"),
        (&["vfio", "probe", "none.sock"], "is no device"),
        (&["vgpuu"], "vgpuu"),
    ];
    for (command, text) in commands {
        let answer = ended(irqbroker().args(command))?;
        // That of a usage error, by the convention of shells.
        ensure!(answer.code == Some(2), "{answer:?}");
        ensure!(answer.stdout.is_empty(), "{answer:?}");
        ensure!(answer.stderr.starts_with("irqbroker: "), "{answer:?}");
        ensure!(answer.stderr.lines().count() == 1, "{answer:?}");
        ensure!(answer.stderr.contains(text), "no {text}: {answer:?}");
    }
    for (command, text) in [
        (["links", "--help"], "Usage: irqbroker links"),
        (["vgpu", "--help"], "Usage: irqbroker vgpu"),
    ] {
        let help = ended(irqbroker().args(command))?;
        ensure!(help.code == Some(0) && help.stderr.is_empty(), "{help:?}");
        ensure!(help.stdout.contains(text), "{help:?}");
    }
    Ok(())
}
