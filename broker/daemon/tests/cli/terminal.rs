//! `irqbroker top` on a terminal: drawn, driven by keys, and left as it was found.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::fd::OwnedFd;

use anyhow::ensure;
use libtest_mimic::Trial;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::command::irqbroker;
use crate::daemon::Daemon;
use crate::daemon::PATIENCE;
use crate::daemon::Pair;
use crate::daemon::STRICT;
use crate::need::Need;
use crate::need::story;

pub(crate) fn stories() -> Vec<Trial> {
    vec![story(
        "top_on_a_terminal_filters_by_keys_and_leaves_with_q",
        Need::Nothing,
        top,
    )]
}

/// A terminal's two ends: the user's, and the program's.
fn terminal() -> anyhow::Result<(File, OwnedFd)> {
    let user = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::pty::grantpt(&user)?;
    rustix::pty::unlockpt(&user)?;
    let name = rustix::pty::ptsname(&user, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let program = rustix::fs::open(name, flags, Mode::empty())?;
    let size = Winsize {
        ws_row: 12,
        ws_col: 120,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&program, size)?;
    Ok((user.into(), program))
}

/// Reads what is drawn until this text is on its way.
fn expect(user: &mut File, text: &str) -> anyhow::Result<()> {
    let limit = Timespec::try_from(PATIENCE)?;
    let mut drawn = String::new();
    let mut buffer = [0; 4096];
    while !drawn.contains(text) {
        let mut fds = [PollFd::new(&*user, PollFlags::IN)];
        ensure!(
            rustix::event::poll(&mut fds, Some(&limit))? == 1,
            "no {text} in {drawn:?}"
        );
        let length = user.read(&mut buffer)?;
        drawn.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    Ok(())
}

fn top() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let _pairs = [
        Pair::register(&daemon, "head0")?,
        Pair::register(&daemon, "head1")?,
    ];
    let (mut user, program) = terminal()?;
    let before = rustix::termios::tcgetattr(&program)?.local_modes;
    let mut command = irqbroker();
    command.args(["top", "--interval", "0.1", "--socket", &daemon.socket()]);
    let mut process = command
        .stdin(program.try_clone()?)
        .stdout(program.try_clone()?)
        .spawn()?;
    expect(&mut user, "2 of 2 links by rate")?;
    user.write_all(b"/head1\r")?;
    // Only what has changed is drawn anew.
    expect(&mut user, "1 of 2")?;
    user.write_all(b"q")?;
    // The screen there was is back.
    expect(&mut user, "\x1b[?1049l")?;
    ensure!(process.wait()?.success());
    ensure!(rustix::termios::tcgetattr(&program)?.local_modes == before);
    Ok(())
}
