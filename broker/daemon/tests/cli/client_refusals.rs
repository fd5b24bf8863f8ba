//! What `irqbroker client` says where the daemon is missing, or will not have it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::ensure;
use irqbroker_protocol::Scope;
use libtest_mimic::Trial;

use crate::command::NOBODY;
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
            "client_without_a_daemon_is_told_to_start_one",
            Need::Nothing,
            no_daemon,
        ),
        story(
            "client_that_is_turned_away_says_with_which_code",
            Need::Nothing,
            turned_away,
        ),
        story(
            "client_of_a_scope_it_may_not_have_says_so",
            Need::Unprivileged,
            wrong_scope,
        ),
    ]
}

/// Both sides, each as little as may be.
fn sides(socket: &str) -> [Command; 2] {
    [&["consume", "--user-space"][..], &["produce"]].map(|side| {
        let mut command = irqbroker();
        command.arg("client").args(side).args(["--socket", socket]);
        command
    })
}

fn no_daemon() -> anyhow::Result<()> {
    let socket = fresh_path("nobody-for-clients.sock")?;
    for mut command in sides(&socket) {
        // Nobody comes: the shorter, the sooner the story ends.
        let answer = ended(command.args(["--timeout", "0.1"]))?;
        let expected = format!("no daemon at {socket} answers within 0.1 s; start one");
        ensure!(answer.refusal()?.starts_with(&expected), "{answer:?}");
    }
    Ok(())
}

fn turned_away() -> anyhow::Result<()> {
    let daemon = Daemon::start(&format!("quotas.connections = 1\n{STRICT}"))?;
    let _only = daemon.connect(&[Scope::ReadOnly])?;
    for mut command in sides(&daemon.socket()) {
        let answer = ended(&mut command)?;
        ensure!(
            answer.refusal()?.starts_with("quota-exceeded: "),
            "{answer:?}"
        );
    }
    Ok(())
}

fn wrong_scope() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        // The daemon's own user has every scope, and no other is to be had.
        return Ok(());
    }
    let daemon = Daemon::start(&format!("access.read_only.uids = [{NOBODY}]\n{STRICT}"))?;
    std::fs::set_permissions(daemon.folder.path(), PermissionsExt::from_mode(0o755))?;
    for mut command in sides(&daemon.socket()) {
        let answer = ended(command.uid(NOBODY).gid(NOBODY))?;
        ensure!(
            answer.refusal()?.starts_with("scope-required: "),
            "{answer:?}"
        );
    }
    Ok(())
}
