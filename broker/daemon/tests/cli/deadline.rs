//! Commands that have to end by themselves.

use std::io::Read;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use anyhow::bail;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Pid;
use rustix::process::PidfdFlags;

use crate::command::Answer;

/// Only ends a story that hangs: many times what any of the commands waits for.
const HANGS: Duration = Duration::from_secs(120);

/// What came of a command that prints less than a pipe holds; an error if it does not end.
pub(crate) fn ended(command: &mut Command) -> anyhow::Result<Answer> {
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let hold = rustix::process::pidfd_open(Pid::from_child(&process), PidfdFlags::empty())?;
    let limit = Timespec::try_from(HANGS)?;
    let mut fds = [PollFd::new(&hold, PollFlags::IN)];
    if rustix::event::poll(&mut fds, Some(&limit))? == 0 {
        process.kill()?;
        process.wait()?;
        bail!("{command:?} does not end");
    }
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let mut told = process.stdout.take().context("no stdout")?;
    told.read_to_string(&mut stdout)?;
    let mut told = process.stderr.take().context("no stderr")?;
    told.read_to_string(&mut stderr)?;
    let code = process.wait()?.code();
    Ok(Answer {
        code,
        stdout,
        stderr,
    })
}
