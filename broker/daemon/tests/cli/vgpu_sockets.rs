//! Who may connect to the sockets of a vGPU.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::Context;
use anyhow::ensure;
use libtest_mimic::Trial;

use crate::command::fresh_path;
use crate::command::run;
use crate::daemon::Daemon;
use crate::daemon::STRICT;
use crate::daemon::serve;
use crate::need::Need;
use crate::need::story;
use crate::vgpu::Serving;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "vgpu_serve_makes_sockets_for_its_user_alone_whatever_the_umask",
            Need::Nothing,
            alone,
        ),
        story(
            "vgpu_serve_makes_sockets_of_the_mode_it_is_told",
            Need::Nothing,
            shared,
        ),
        story(
            "hosted_vgpu_has_sockets_for_the_group_where_the_daemons_umask_leaves_it_any",
            Need::Nothing,
            hosted,
        ),
    ]
}

/// The same command with a umask.
fn with_umask(umask: &str, command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args());
    shell
}

/// Both kinds of socket have these bits.
fn check(socket: &str, bits: u32) -> anyhow::Result<()> {
    for file in [socket.to_owned(), format!("{socket}.head0")] {
        let mode = std::fs::metadata(&file)?.permissions().mode() & 0o777;
        ensure!(mode == bits, "{file}: {mode:03o}, not {bits:03o}");
    }
    Ok(())
}

fn alone() -> anyhow::Result<()> {
    let serving = Serving::start_as("small", "alone.sock", &[], |command| {
        with_umask("0", &command)
    })?;
    check(&serving.socket, 0o600)
}

fn shared() -> anyhow::Result<()> {
    // A usual umask, which takes from the group what it needs to connect.
    let options = ["--socket-mode", "0660"];
    let serving = Serving::start_as("small", "shared.sock", &options, |command| {
        with_umask("022", &command)
    })?;
    check(&serving.socket, 0o660)?;
    let socket = fresh_path("no-mode.sock")?;
    let serve = ["vgpu", "serve", "--type", "small", "--socket", &socket];
    for bad in ["1660", "rw", "", "-1", "0o660"] {
        let mode = format!("--socket-mode={bad}");
        let answer = run(&[&serve[..], &[&mode]].concat())?;
        ensure!(answer.code == Some(2), "{bad}: {answer:?}");
        ensure!(!std::fs::exists(&socket)?, "{bad}: a socket is left");
    }
    Ok(())
}

fn hosted() -> anyhow::Result<()> {
    // The second is that of the unit.
    for (umask, bits) in [("0", 0o660), ("007", 0o660), ("077", 0o600)] {
        let folder = Daemon::prepare(tempfile::tempdir()?, STRICT)?;
        let command = with_umask(umask, &serve(folder.path()));
        let daemon = Daemon::launch_with(folder, command)?;
        let created = daemon.report(&["vgpu", "create", "--type", "small"])?;
        let socket = created["socket"].as_str().context("no socket")?;
        check(socket, bits).context(umask)?;
        let uuid = created["uuid"].as_str().context("no uuid")?;
        daemon.report(&["vgpu", "destroy", uuid])?;
    }
    Ok(())
}
