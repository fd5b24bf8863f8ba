//! Daemons that listen and do not answer: nobody waits for them without end.

use std::os::fd::OwnedFd;

use anyhow::anyhow;
use anyhow::ensure;
use irqbroker_protocol::Connection;
use libtest_mimic::Trial;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::process::Signal;

use crate::command::fresh_path;
use crate::command::irqbroker;
use crate::daemon::Daemon;
use crate::daemon::STRICT;
use crate::deadline::ended;
use crate::need::Need;
use crate::need::story;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "operator_of_a_stopped_daemon_is_told_that_it_does_not_answer",
            Need::Nothing,
            stopped,
        ),
        story(
            "client_of_a_daemon_that_takes_nobody_gives_up_in_time",
            Need::Nothing,
            full,
        ),
    ]
}

/// A control socket that nobody serves.
fn deaf(name: &str) -> anyhow::Result<(OwnedFd, String)> {
    let path = fresh_path(name)?;
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let listener = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&listener, &SocketAddrUnix::new(path.as_str())?)?;
    rustix::net::listen(&listener, 0)?;
    Ok((listener, path))
}

fn stopped() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    daemon.report(&["status"])?;
    daemon.signal(Signal::STOP)?;
    let socket = daemon.socket();
    let expected = format!("the daemon at {socket} does not answer");
    let commands: [&[&str]; 6] = [
        &["status"],
        &["links"],
        &["explain", "1"],
        &["watch"],
        &["metrics"],
        &["vgpu", "list"],
    ];
    // Side by side, since each waits as long as it may.
    std::thread::scope(|scope| {
        let running = commands.map(|command| {
            let mut process = irqbroker();
            process.args(command).args(["--control", &socket]);
            scope.spawn(move || ended(&mut process))
        });
        for command in running {
            let answer = command.join().map_err(|_| anyhow!("panicked"))??;
            ensure!(answer.refusal()?.starts_with(&expected), "{answer:?}");
        }
        anyhow::Ok(())
    })?;
    // What has come meanwhile it answers to nobody, and goes on.
    daemon.signal(Signal::CONT)?;
    daemon.report(&["status"])?;
    Ok(())
}

fn full() -> anyhow::Result<()> {
    let (_listener, socket) = deaf("full.sock")?;
    let mut waiting = Vec::new();
    loop {
        match Connection::connect_nonblocking(socket.as_ref()) {
            Ok(connection) => waiting.push(connection),
            Err(Errno::AGAIN) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let mut command = irqbroker();
    command.args(["client", "produce", "--timeout", "0.1", "--socket", &socket]);
    let answer = ended(&mut command)?;
    answer.refusal()?;
    ensure!(!waiting.is_empty());
    Ok(())
}
