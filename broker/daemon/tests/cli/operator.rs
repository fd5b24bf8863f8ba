//! What an operator sees of a live pair, and what is said where there is no daemon.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::process::Stdio;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_protocol::Scope;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::command::fresh_path;
use crate::command::irqbroker;
use crate::command::run;
use crate::daemon::Daemon;
use crate::daemon::Pair;
use crate::daemon::STRICT;
use crate::need::Need;
use crate::need::story;
use crate::report::count;
use crate::report::rows;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "operator_without_a_daemon_is_told_to_start_one",
            Need::Nothing,
            no_daemon,
        ),
        story(
            "operator_sees_a_live_pair_and_why_it_is_relayed",
            Need::Nothing,
            live_pair,
        ),
        story(
            "operator_sees_two_processes_bypassed_before_and_after_a_kill",
            Need::Kvm,
            bypassed,
        ),
        story(
            "explain_of_an_unknown_link_is_refused",
            Need::Nothing,
            unknown_link,
        ),
        story(
            "top_without_a_terminal_repeats_a_table_with_rates",
            Need::Nothing,
            top,
        ),
        story(
            "metrics_are_scraped_from_a_socket_and_from_a_port",
            Need::Nothing,
            scrape,
        ),
        story(
            "operator_of_no_scope_is_refused",
            Need::Unprivileged,
            no_scope,
        ),
        story(
            "completions_and_man_pages_know_every_command",
            Need::Nothing,
            packaging,
        ),
    ]
}

fn no_daemon() -> anyhow::Result<()> {
    let socket = fresh_path("nobody.sock")?;
    let commands: [&[&str]; 10] = [
        &["status"],
        &["links"],
        &["explain", "1"],
        &["watch"],
        &["top"],
        &["metrics"],
        &["vgpu", "list"],
        &["vgpu", "create", "--type", "small"],
        &["vgpu", "destroy", "any"],
        &["vgpu", "types"],
    ];
    for command in commands {
        let answer = run(&[command, &["--control", &socket]].concat())?;
        let line = answer.refusal()?;
        let expected = format!(
            "no daemon at {socket}; start one with `irqbroker serve`: \
             No such file or directory (os error 2)"
        );
        ensure!(line == expected, "{line}");
    }
    Ok(())
}

fn live_pair() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let pair = Pair::register(&daemon, "head0")?;
    for _ in 0..100 {
        pair.deliver()?;
    }
    let status = daemon.report(&["status"])?;
    ensure!(count(&status["links"], "relay")? == 1, "{status}");
    ensure!(count(&status, "relayed")? == 100, "{status}");

    let links = daemon.report(&["links"])?;
    let [link] = rows(&links, "links")? else {
        anyhow::bail!("not one link: {links}");
    };
    ensure!(link["producer"] == "head0.device", "{link}");
    ensure!(link["consumer"] == "head0.guest", "{link}");
    ensure!(link["state"] == "relay", "{link}");
    ensure!(count(link, "events")? == 100, "{link}");
    let none = daemon.report(&["links", "--state", "bypass"])?;
    ensure!(rows(&none, "links")?.is_empty(), "{none}");

    // By number, by name, by a side's name.
    let id = count(link, "id")?.to_string();
    for name in [id.as_str(), "head0", "head0.device", "head0.guest"] {
        let explained = daemon.report(&["explain", name])?;
        ensure!(explained["row"]["id"] == link["id"], "{explained}");
        ensure!(!rows(&explained, "causes")?.is_empty(), "{explained}");
    }
    let text = daemon.run(&["explain", "head0"])?.stdout;
    ensure!(text.contains("head0.device -> head0.guest"), "{text}");
    let reason = link["reason"].as_str().context("no reason")?;
    ensure!(text.contains(reason), "{text}");
    let table = daemon.run(&["links"])?.stdout;
    ensure!(table.contains("head0.device"), "{table}");
    Ok(())
}

/// A peer's process, which ends with this.
struct Peer(Child);

impl Peer {
    fn start(daemon: &Daemon, side: &str) -> anyhow::Result<Self> {
        let mut command = irqbroker();
        // More events than the story waits for.
        command.args(["client", side, "--links", "2", "--events", "100000"]);
        command.args(["--socket", &daemon.socket()]);
        Ok(Self(command.stdout(Stdio::null()).spawn()?))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already; then there is nobody to kill.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

fn bypassed() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let _peers = [
        Peer::start(&daemon, "consume")?,
        Peer::start(&daemon, "produce")?,
    ];
    let both = |links: &Value| {
        let rows = links["links"].as_array();
        rows.is_some_and(|rows| rows.len() == 2 && rows.iter().all(|row| row["state"] == "bypass"))
    };
    let links = daemon.until(&["links"], both)?;
    let link = &rows(&links, "links")?[0];
    ensure!(link["reason"] == "best path", "{link}");
    ensure!(link["route"]["msi"]["gsi"].is_u64(), "{link}");

    let daemon = daemon.kill_and_restart()?;

    daemon.until(&["links"], both)?;
    let explained = daemon.report(&["explain", "demo.0"])?;
    ensure!(explained["row"]["state"] == "bypass", "{explained}");
    let told = daemon.report(&["metrics"])?;
    let told = told["openmetrics"].as_str().context("no text")?;
    ensure!(
        told.contains("irqbroker_links{state=\"bypass\"} 2\n"),
        "{told}"
    );
    // The kernel delivers: the daemon has nothing to count.
    ensure!(told.contains("\nirqbroker_relayed_total 0\n"), "{told}");
    Ok(())
}

fn unknown_link() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let answer = daemon.run(&["explain", "nothing"])?;
    ensure!(
        answer.refusal()?.starts_with("unknown-link: "),
        "{answer:?}"
    );
    Ok(())
}

/// Two minutes of them, ten a second: more than the story waits for.
const TABLES: &str = "1200";

fn top() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let pair = Pair::register(&daemon, "head0")?;
    let socket = daemon.socket();
    let mut command = irqbroker();
    command.args([
        "top",
        "--json",
        "--interval",
        "0.1",
        "--count",
        TABLES,
        "--control",
        &socket,
    ]);
    let mut process = command.stdout(Stdio::piped()).spawn()?;
    let stdout = BufReader::new(process.stdout.take().context("no stdout")?);
    let mut lines = stdout.lines();
    let first: Value = serde_json::from_str(&lines.next().context("no table")??)?;
    ensure!(rows(&first, "links")?.len() == 1, "{first}");
    for _ in 0..10 {
        pair.deliver()?;
    }
    // One that was made before them may be on its way.
    loop {
        let table: Value = serde_json::from_str(&lines.next().context("no rate")??)?;
        let link = &rows(&table, "links")?[0];
        if link["rate"].as_f64().is_some_and(|rate| rate > 0.0) {
            break;
        }
    }
    // It ends with its reader.
    drop(lines);
    ensure!(process.wait()?.success());

    let arguments = ["top", "--interval", "0.1", "--count", "2", "--sort", "id"];
    let text = daemon.run(&arguments)?.stdout;
    ensure!(text.matches("head0.device").count() == 2, "{text}");
    ensure!(text.contains("relayed/s"), "{text}");
    Ok(())
}

/// What a scraper is answered.
fn scraped(mut stream: impl Read + Write) -> anyhow::Result<String> {
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: story\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn scrape() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("metrics.sock");
    let daemon = Daemon::start(&format!(
        "metrics.listen = \"unix:{}\"\n{STRICT}",
        socket.display()
    ))?;
    let pair = Pair::register(&daemon, "head0")?;
    pair.deliver()?;
    let text = scraped(UnixStream::connect(&socket)?)?;
    ensure!(text.starts_with("HTTP/1.0 200 OK\r\n"), "{text}");
    let series = "irqbroker_link_relayed_total{link=\"1\",producer=\"head0.device\",consumer=\"head0.guest\"} 1";
    ensure!(text.lines().any(|line| line == series), "{text}");
    ensure!(text.ends_with("# EOF\n"), "{text}");
    // The same without a scraper.
    let told = daemon.report(&["metrics"])?;
    let told = told["openmetrics"].as_str().context("no text")?;
    ensure!(told.lines().any(|line| line == series), "{told}");
    drop(daemon);

    let (_daemon, port) = on_a_port()?;
    let text = scraped(TcpStream::connect(port)?)?;
    ensure!(
        text.contains("\nirqbroker_links{state=\"relay\"} 0\n"),
        "{text}"
    );
    Ok(())
}

/// A daemon on a port nobody has: asked of the kernel, and given back. Somebody else may be faster.
fn on_a_port() -> anyhow::Result<(Daemon, SocketAddr)> {
    let mut taken = None;
    for _ in 0..PORTS {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        match Daemon::start(&format!("metrics.listen = \"{port}\"\n{STRICT}")) {
            Ok(daemon) => return Ok((daemon, port)),
            Err(error) => taken = Some(error),
        }
    }
    Err(taken.context("no port was tried")?)
}

/// That as many are taken between two system calls does not happen by chance.
const PORTS: u32 = 8;

fn no_scope() -> anyhow::Result<()> {
    // Everybody may connect; nobody but root is on a list.
    let daemon = Daemon::start(&format!("control.mode = \"0666\"\n{STRICT}"))?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(daemon.folder.path(), permissions)?;
    let socket = daemon.socket();
    let answer = crate::command::unprivileged(&["status", "--control", &socket])?;
    ensure!(answer.refusal()?.starts_with("not-allowed: "), "{answer:?}");

    daemon.rewrite(&format!(
        "control.mode = \"0666\"\naccess.read_only.uids = [65534]\n{STRICT}"
    ))?;
    daemon.signal(rustix::process::Signal::HUP)?;
    daemon.until(&["status"], |status| !status["reload"].is_null())?;
    let looked = crate::command::unprivileged(&["status", "--control", &socket])?;
    ensure!(looked.code == Some(0), "{looked:?}");
    let changed =
        crate::command::unprivileged(&["vgpu", "create", "--type", "small", "--control", &socket])?;
    ensure!(
        changed.refusal()?.starts_with("scope-required: "),
        "{changed:?}"
    );
    ensure!(daemon.connect(&[Scope::Operator]).is_ok());
    Ok(())
}

fn packaging() -> anyhow::Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell])?;
        ensure!(script.code == Some(0), "{script:?}");
        for command in ["serve", "links", "explain", "set-path", "screenshot"] {
            ensure!(script.stdout.contains(command), "{shell}: no {command}");
        }
        // What the daemon runs itself is nobody's to complete.
        ensure!(
            !script.stdout.contains("--run-dir") || shell != "fish",
            "{shell}"
        );
    }
    let page = run(&["man"])?.stdout;
    ensure!(page.contains(".TH irqbroker 1"), "{page}");
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().context("not UTF-8")?;
    let report = run(&["man", "--json", "--dir", path])?.report()?;
    for name in [
        "irqbroker.1",
        "irqbroker-serve.1",
        "irqbroker-vgpu-create.1",
    ] {
        ensure!(
            rows(&report, "files")?.iter().any(|file| file == name),
            "{report}"
        );
    }
    Ok(())
}
