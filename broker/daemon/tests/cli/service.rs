//! The daemon as a service: configured, reloaded, supervised, alone.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_protocol::Connection;
use irqbroker_protocol::Scope;
use libtest_mimic::Trial;
use rustix::net::AddressFamily;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketType;
use rustix::process::Signal;
use serde_json::Value;

use crate::command::NOBODY;
use crate::command::fresh_path;
use crate::command::run;
use crate::daemon::Daemon;
use crate::daemon::PATIENCE;
use crate::daemon::Pair;
use crate::daemon::STRICT;
use crate::daemon::serve;
use crate::need::Need;
use crate::need::story;
use crate::report::count;
use crate::watch::watching;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "serve_check_says_what_holds_and_where_it_is_from",
            Need::Nothing,
            check,
        ),
        story(
            "serve_refuses_a_wrong_file_with_line_and_key",
            Need::Nothing,
            wrong_file,
        ),
        story(
            "serve_default_config_is_one_it_accepts",
            Need::Nothing,
            default_config,
        ),
        story(
            "second_daemon_on_a_socket_is_refused_and_the_first_goes_on",
            Need::Nothing,
            second,
        ),
        story(
            "reload_takes_a_change_over_or_refuses_the_file_whole",
            Need::Nothing,
            reload,
        ),
        story(
            "connection_that_has_closed_makes_room_for_the_next",
            Need::Nothing,
            room,
        ),
        story(
            "sandbox_of_a_running_daemon_holds_and_status_says_so",
            Need::Nothing,
            sandbox,
        ),
        story(
            "service_manager_is_told_of_each_step",
            Need::Nothing,
            notify,
        ),
        story(
            "daemon_serves_on_a_socket_it_was_passed",
            Need::Nothing,
            activation,
        ),
        story(
            "daemon_refuses_another_kind_of_socket_it_was_passed",
            Need::Nothing,
            wrong_socket,
        ),
        story("daemon_runs_unprivileged", Need::Unprivileged, unprivileged),
        story("systemd_units_hold", Need::SystemdAnalyze, units),
    ]
}

fn check() -> anyhow::Result<()> {
    let file = fresh_path("check.toml")?;
    fs::write(&file, "[quotas]\nconnections = 7\n")?;
    let arguments = [
        "serve",
        "--check",
        "--json",
        "--config",
        &file,
        "--set",
        "log.level=info",
    ];
    let report = run(&arguments)?.report()?;
    ensure!(report["file"] == file, "{report}");
    ensure!(
        report["settings"] == serde_json::json!(["--set"]),
        "{report}"
    );
    ensure!(report["config"]["quotas"]["connections"] == 7, "{report}");
    ensure!(report["config"]["log"]["level"] == "info", "{report}");
    Ok(())
}

fn wrong_file() -> anyhow::Result<()> {
    let file = fresh_path("wrong.toml")?;
    fs::write(&file, "# text\n[quotas]\nconnections = \"many\"\n")?;
    for arguments in [
        &["serve", "--config", &file][..],
        &["serve", "--check", "--config", &file],
    ] {
        let answer = run(arguments)?;
        let line = answer.refusal()?;
        let expected = format!("{file}:3: quotas.connections: invalid type");
        ensure!(line.starts_with(&expected), "{line}");
    }
    Ok(())
}

fn default_config() -> anyhow::Result<()> {
    let answer = run(&["serve", "--default-config"])?;
    let file = fresh_path("default.toml")?;
    fs::write(&file, &answer.stdout)?;
    let from_file = run(&["serve", "--check", "--json", "--config", &file])?.report()?;
    let defaults = run(&["serve", "--check", "--json", "--config", "/dev/null"])?.report()?;
    ensure!(from_file["config"] == defaults["config"], "{from_file}");
    Ok(())
}

fn second() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let pair = Pair::register(&daemon, "head0")?;
    let output = serve(daemon.folder.path()).output()?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let line = String::from_utf8(output.stderr)?;
    let expected = format!("irqbroker: another daemon serves {}; ", daemon.socket());
    ensure!(line.starts_with(&expected), "{line}");
    pair.deliver()
}

fn reload() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let pair = Pair::register(&daemon, "head0")?;
    let told = |expected: &str| -> anyhow::Result<()> {
        daemon.signal(Signal::HUP)?;
        let said = |status: &Value| {
            let told = status["reload"].as_str();
            told.is_some_and(|told| told.starts_with(expected))
        };
        daemon.until(&["status"], said).map(drop)
    };
    daemon.rewrite(&format!("quotas.connections = 3\n{STRICT}"))?;
    told("took over quotas.connections")?;
    // Two are the pair's: one more, and then none.
    let third = daemon.connect(&[Scope::ReadOnly])?;
    let refused = daemon.run(&["status"])?;
    ensure!(
        refused.refusal()?.starts_with("quota-exceeded: "),
        "{refused:?}"
    );
    drop(third);
    // A child that another story starts just now has it too, until it runs its own program.
    let begun = Instant::now();
    while daemon.run(&["status"])?.code != Some(0) {
        ensure!(begun.elapsed() < PATIENCE, "the third stays");
    }

    daemon.rewrite(&format!(
        "quotas.connections = 1\nmetrics.listen = \"127.0.0.1:1\"\n{STRICT}"
    ))?;
    told("refused: metrics.listen changed, which needs a restart")?;
    daemon.rewrite("quotas.connections = \"none\"\n")?;
    told("refused: ")?;
    // Still three.
    daemon.report(&["status"])?;
    daemon.rewrite(&format!("quotas.connections = 3\n{STRICT}"))?;
    told("nothing changed")?;
    pair.deliver()
}

fn room() -> anyhow::Result<()> {
    let daemon = Daemon::start(&format!("quotas.connections = 2\n{STRICT}"))?;
    // A process of its own: nobody else has its socket.
    let (mut watcher, _lines) = watching(&daemon)?;
    // Stopped, it finds all at once.
    daemon.signal(Signal::STOP)?;
    daemon.until_stopped()?;
    watcher.kill()?;
    watcher.wait()?;
    let socket = daemon.path("control.sock");
    let (_another, next) = (Connection::connect(&socket)?, Connection::connect(&socket)?);
    daemon.signal(Signal::CONT)?;
    // What it refuses it tells at once, and else nothing until it is asked.
    let hello = br#"{"id":1,"type":"hello","body":{"versions":[1],"client":"x","scopes":[]}}"#;
    next.send(hello, &[])?;
    let mut buffer = Vec::new();
    let answer = next.receive_in(&mut buffer, &mut Vec::new())?;
    let answer: Value = serde_json::from_slice(answer)?;
    ensure!(answer["id"] == 1 && answer["error"].is_null(), "{answer}");
    Ok(())
}

fn sandbox() -> anyhow::Result<()> {
    let daemon = Daemon::start("")?;
    let status = daemon.report(&["status"])?;
    let told = status["sandbox"].as_str().context("no sandbox")?;
    ensure!(daemon.told["sandbox"] == told, "{status}");
    ensure!(told.starts_with("seccomp on, landlock "), "{told}");
    let pid = count(&status, "pid")?;
    let kernel = fs::read_to_string(format!("/proc/{pid}/status"))?;
    // Mode 2 is a filter (`proc_pid_status(5)`).
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "Threads:\t5"] {
        ensure!(kernel.lines().any(|found| found == line), "no {line}");
    }
    let off = Daemon::start("[sandbox]\nseccomp = \"off\"\nlandlock = \"off\"\n")?;
    let status = off.report(&["status"])?;
    ensure!(status["sandbox"] == "seccomp off, landlock off", "{status}");
    Ok(())
}

fn received(socket: &UnixDatagram) -> anyhow::Result<String> {
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8(buffer[..length].to_vec())?)
}

fn notify() -> anyhow::Result<()> {
    let folder = Daemon::prepare(tempfile::tempdir()?, STRICT)?;
    let address = folder.path().join("notify");
    let manager = UnixDatagram::bind(&address)?;
    let mut command = serve(folder.path());
    command.env("NOTIFY_SOCKET", &address);
    let mut daemon = Daemon::launch_with(folder, command)?;
    ensure!(received(&manager)?.starts_with("STATUS=seccomp on, landlock "));
    ensure!(received(&manager)? == "READY=1\n");
    daemon.signal(Signal::HUP)?;
    ensure!(received(&manager)?.starts_with("RELOADING=1\nMONOTONIC_USEC="));
    ensure!(received(&manager)? == "STATUS=nothing changed\n");
    ensure!(received(&manager)? == "READY=1\n");
    daemon.signal(Signal::TERM)?;
    ensure!(received(&manager)? == "STOPPING=1\n");
    ensure!(daemon.wait()?.success());
    ensure!(!daemon.path("control.sock").exists());
    Ok(())
}

/// A command that is passed a listening socket of this kind, as a service manager would.
fn passed(folder: &tempfile::TempDir, kind: SocketType) -> anyhow::Result<(Command, OwnedFd)> {
    let socket = rustix::net::socket(AddressFamily::UNIX, kind, None)?;
    rustix::net::bind(
        &socket,
        &SocketAddrUnix::new(folder.path().join("control.sock"))?,
    )?;
    rustix::net::listen(&socket, 16)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty())?;
    let mut command = serve(folder.path());
    command
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDS_FIRST_FD", socket.as_raw_fd().to_string());
    Ok((command, socket))
}

fn activation() -> anyhow::Result<()> {
    let folder = Daemon::prepare(tempfile::tempdir()?, STRICT)?;
    let (command, socket) = passed(&folder, SocketType::SEQPACKET)?;
    let mut daemon = Daemon::launch_with(folder, command)?;
    let pair = Pair::register(&daemon, "head0")?;
    pair.deliver()?;
    daemon.signal(Signal::TERM)?;
    ensure!(daemon.wait()?.success());
    // The service manager goes on listening for the next one.
    ensure!(daemon.path("control.sock").exists());
    drop(socket);
    Ok(())
}

fn wrong_socket() -> anyhow::Result<()> {
    let folder = Daemon::prepare(tempfile::tempdir()?, STRICT)?;
    let (mut command, _socket) = passed(&folder, SocketType::STREAM)?;
    let output = command.output()?;
    let line = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{line}");
    ensure!(line.contains("ListenSequentialPacket="), "{line}");
    Ok(())
}

fn unprivileged() -> anyhow::Result<()> {
    let folder = Daemon::prepare(tempfile::tempdir()?, STRICT)?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let mut command = serve(folder.path());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY))?;
        command.uid(NOBODY).gid(NOBODY);
    }
    let daemon = Daemon::launch_with(folder, command)?;
    let pair = Pair::register(&daemon, "head0")?;
    pair.deliver()?;
    let status = daemon.report(&["status"])?;
    let pid = count(&status, "pid")?;
    let kernel = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let effective = kernel.lines().find(|line| line.starts_with("CapEff:"));
    ensure!(
        effective.is_some_and(|line| line.ends_with("0000000000000000")),
        "{effective:?}"
    );
    let created = daemon.report(&["vgpu", "create", "--type", "small"])?;
    ensure!(created["state"] == "running", "{created}");
    Ok(())
}

/// `systemd-analyze verify` needs a command that is there.
fn units() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for name in ["irqbroker.service", "irqbroker.socket"] {
        // The man page is the packager's to install.
        let unit = fs::read_to_string(format!("{}/systemd/{name}", env!("CARGO_MANIFEST_DIR")))?;
        let unit = unit.replace("/usr/bin/irqbroker", env!("CARGO_BIN_EXE_irqbroker"));
        let unit = unit.replace("Documentation=man:irqbroker(1)\n", "");
        fs::write(folder.path().join(name), unit)?;
    }
    let files = ["irqbroker.service", "irqbroker.socket"].map(|name| folder.path().join(name));
    let mut command = Command::new("systemd-analyze");
    command
        .arg("verify")
        .args(files.iter().map(AsRef::<OsStr>::as_ref));
    let output = command.output()?;
    let told = String::from_utf8(output.stderr)?;
    ensure!(output.status.success() && told.is_empty(), "{told}");
    Ok(())
}
