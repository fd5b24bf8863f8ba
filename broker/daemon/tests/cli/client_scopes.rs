//! `irqbroker client` as users that may be one side each.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::process::Stdio;

use anyhow::ensure;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::command::NOBODY;
use crate::command::irqbroker;
use crate::daemon::Daemon;
use crate::daemon::STRICT;
use crate::need::Need;
use crate::need::story;
use crate::report::count;

/// Groups nobody has, each with one side.
const PRODUCERS: u32 = 64_001;
const CONSUMERS: u32 = 64_002;

pub(crate) fn stories() -> Vec<Trial> {
    vec![story(
        "client_of_either_scope_alone_delivers",
        Need::Unprivileged,
        one_scope_each,
    )]
}

/// One side as a member of a group; where this is not root, as this user, who may be both.
fn member(group: u32, side: &str, socket: &str) -> Command {
    let mut command = irqbroker();
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(group);
    }
    // As many as show that more than the first arrives.
    command.args(["client", side, "--json", "--events", "20"]);
    command.args(["--socket", socket]).stdout(Stdio::piped());
    command
}

fn one_scope_each() -> anyhow::Result<()> {
    let daemon = Daemon::start(&format!(
        "access.producer.gids = [{PRODUCERS}]\naccess.consumer.gids = [{CONSUMERS}]\n{STRICT}"
    ))?;
    std::fs::set_permissions(daemon.folder.path(), PermissionsExt::from_mode(0o755))?;
    let socket = daemon.socket();
    let consume = member(CONSUMERS, "consume", &socket)
        .arg("--user-space")
        .spawn()?;
    let produce = member(PRODUCERS, "produce", &socket).spawn()?;
    let outputs = [produce.wait_with_output()?, consume.wait_with_output()?];
    for output in &outputs {
        ensure!(output.status.success(), "{output:?}");
    }
    let consumed: Value = serde_json::from_slice(&outputs[1].stdout)?;
    ensure!(count(&consumed, "delivered")? == 20, "{consumed}");
    Ok(())
}
