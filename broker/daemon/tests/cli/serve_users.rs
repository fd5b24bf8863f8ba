//! Peers of several users: whose objects meet, and whom a reload lets in.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;

use crate::command::NOBODY;
use crate::command::unprivileged;
use crate::daemon::Daemon;
use crate::daemon::STRICT;
use crate::need::Need;
use crate::need::story;
use crate::serve_rig::ask;
use crate::serve_rig::consumer;
use crate::serve_rig::eventfd;
use crate::serve_rig::producer;
use crate::serve_rig::taken;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "serve_gives_no_user_the_interrupts_of_another",
            Need::SecondUser,
            strangers,
        ),
        story(
            "reload_that_lets_others_in_is_refused_where_the_socket_is_not_theirs",
            Need::Nothing,
            closed_socket,
        ),
        story(
            "reload_lets_others_in_at_once_where_the_socket_is_everybodys",
            Need::SecondUser,
            open_socket,
        ),
    ]
}

/// Lets everybody reach the socket.
fn open_folder(daemon: &Daemon) -> anyhow::Result<()> {
    let everybody = Permissions::from_mode(0o755);
    Ok(std::fs::set_permissions(daemon.folder.path(), everybody)?)
}

fn strangers() -> anyhow::Result<()> {
    let lists = format!(
        "producer.uids = [{NOBODY}]\nconsumer.uids = [{NOBODY}]\nread_only.uids = [{NOBODY}]\n"
    );
    let daemon = Daemon::start(&format!("{STRICT}[access]\n{lists}"))?;
    open_folder(&daemon)?;
    // This user is first to come with the link's name, and with that of the other's consumer.
    let mut squatter = daemon.connect(&[Scope::Producer, Scope::Consumer])?;
    let (source, sink) = (eventfd()?, eventfd()?);
    let mut register = consumer("py", ConsumerTakes::OwnRead)?;
    register.name = irqbroker_protocol::Name::new("py.driver")?;
    ask(
        &mut squatter,
        &Request::RegisterConsumer(register),
        &[&sink],
    )?;
    // The other user's pair: a program of its own, which the folder has a copy of.
    let example = daemon.path("client.py");
    let original = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/client.py");
    std::fs::copy(original, &example)?;
    std::fs::set_permissions(&example, Permissions::from_mode(0o644))?;
    let mut pair = Command::new("python3");
    pair.arg(&example)
        .arg(daemon.socket())
        .uid(NOBODY)
        .gid(NOBODY);
    let output = pair.output().context("python3")?;
    ensure!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(told["delivered"] == told["produced"], "{told}");
    ensure!(taken(&sink) == 0, "another user's interrupts");
    // The squatter has a partner in nobody but itself.
    ask(
        &mut squatter,
        &Request::RegisterProducer(producer("py")?),
        &[&source],
    )?;
    crate::serve_rig::signal(&source)?;
    ensure!(crate::serve_rig::wait_taken(&sink)? == 1);
    Ok(())
}

/// Sends the daemon SIGHUP and waits for what it says of it.
fn reloaded(daemon: &Daemon) -> anyhow::Result<String> {
    daemon.signal(Signal::HUP)?;
    let status = daemon.until(&["status"], |status| !status["reload"].is_null())?;
    Ok(status["reload"].as_str().context("no text")?.to_owned())
}

fn closed_socket() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let mode = std::fs::metadata(daemon.path("control.sock"))?
        .permissions()
        .mode();
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    daemon.rewrite(&format!("access.read_only.uids = [{NOBODY}]\n{STRICT}"))?;
    let told = reloaded(&daemon)?;
    ensure!(told.starts_with("refused: access "), "{told}");
    ensure!(told.contains("needs a restart"), "{told}");
    Ok(())
}

fn open_socket() -> anyhow::Result<()> {
    // Somebody is let in, so that with control.mode = "auto" the socket is everybody's.
    let daemon = Daemon::start(&format!("access.operator.gids = [1]\n{STRICT}"))?;
    open_folder(&daemon)?;
    let socket = daemon.socket();
    let look = || unprivileged(&["status", "--control", &socket]);
    ensure!(look()?.refusal()?.starts_with("not-allowed: "));
    daemon.rewrite(&format!(
        "access.operator.gids = [1]\naccess.read_only.uids = [{NOBODY}]\n{STRICT}"
    ))?;
    let told = reloaded(&daemon)?;
    ensure!(told == "took over access.read_only.uids", "{told}");
    let looked = look()?;
    ensure!(looked.code == Some(0), "{looked:?}");
    Ok(())
}
