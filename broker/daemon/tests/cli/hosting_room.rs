//! How many more vGPUs a daemon has room for, as operators see it.

use std::net::TcpListener;

use anyhow::Context;
use anyhow::ensure;
use libtest_mimic::Trial;
use rustix::process::Pid;
use rustix::process::Signal;
use serde_json::Value;

use crate::command::run;
use crate::daemon::Daemon;
use crate::daemon::STRICT;
use crate::need::Need;
use crate::need::story;
use crate::report::count;
use crate::report::rows;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "available_instances_follow_each_turn_of_a_hosted_vgpus_life",
            Need::Nothing,
            followed,
        ),
        story(
            "vgpu_types_are_told_without_a_daemon_and_without_what_it_has_room_for",
            Need::Nothing,
            alone,
        ),
    ]
}

/// Of small, medium and large ones, as both commands tell it.
fn available(daemon: &Daemon) -> anyhow::Result<[u64; 3]> {
    let list = daemon.report(&["vgpu", "list"])?;
    let types = daemon.report(&["vgpu", "types"])?;
    let of = |report: &Value| -> anyhow::Result<Vec<(Value, u64)>> {
        let rows = rows(report, "types")?.iter();
        rows.map(|row| Ok((row["name"].clone(), count(row, "available_instances")?)))
            .collect()
    };
    ensure!(of(&list)? == of(&types)?, "{list} {types}");
    let told = of(&list)?;
    let find = |name: &str| {
        let found = told.iter().find(|(known, _)| known == name);
        Ok::<u64, anyhow::Error>(found.with_context(|| format!("no {name}: {list}"))?.1)
    };
    Ok([find("small")?, find("medium")?, find("large")?])
}

fn create(daemon: &Daemon, name: &str) -> anyhow::Result<Value> {
    daemon.report(&["vgpu", "create", "--type", name])
}

fn followed() -> anyhow::Result<()> {
    let limits = "vgpu.max_devices = 3\nvgpu.max_vram_mib = 40\n";
    let daemon = Daemon::start(&format!("{limits}{STRICT}"))?;
    let whole = [3, 2, 1];
    ensure!(available(&daemon)? == whole);
    let medium = create(&daemon, "medium")?;
    let one = [2, 1, 0];
    ensure!(available(&daemon)? == one);

    // Beyond the VRAM: nothing changes.
    let refused = daemon.run(&["vgpu", "create", "--type", "large"])?;
    ensure!(
        refused.refusal()?.starts_with("quota-exceeded: "),
        "{refused:?}"
    );
    ensure!(available(&daemon)? == one);

    // One that fails after its place was taken.
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let vnc = taken.local_addr()?.to_string();
    let failed = daemon.run(&["vgpu", "create", "--type", "small", "--vnc", &vnc])?;
    ensure!(failed.refusal()?.contains("did not start"), "{failed:?}");
    ensure!(available(&daemon)? == one);

    // What is there counts for the next daemon too.
    let daemon = daemon.kill_and_restart()?;
    ensure!(available(&daemon)? == one);

    // One whose process dies: its VRAM is free, its place is not until it is destroyed.
    let pid = i32::try_from(count(&medium, "pid")?)?;
    rustix::process::kill_process(Pid::from_raw(pid).context("no pid")?, Signal::KILL)?;
    daemon.until(&["vgpu", "list"], |list| {
        list["vgpus"][0]["state"] == "stopped"
    })?;
    ensure!(available(&daemon)? == [2, 2, 1]);
    let uuid = medium["uuid"].as_str().context("no uuid")?;
    daemon.report(&["vgpu", "destroy", uuid])?;
    ensure!(available(&daemon)? == whole);

    // As many as it says, and no more.
    for _ in 0..3 {
        create(&daemon, "small")?;
    }
    ensure!(available(&daemon)? == [0, 0, 0]);
    let refused = daemon.run(&["vgpu", "create", "--type", "small"])?;
    ensure!(
        refused.refusal()?.starts_with("quota-exceeded: "),
        "{refused:?}"
    );
    Ok(())
}

fn alone() -> anyhow::Result<()> {
    let variable = "IRQBROKER_CONTROL_SOCKET";
    let mut command = crate::command::irqbroker();
    command
        .args(["vgpu", "types", "--json"])
        .env(variable, "/nonexistent/control.sock");
    let output = command.output()?;
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let report: Value = serde_json::from_slice(&output.stdout)?;
    for row in rows(&report, "types")? {
        ensure!(row.get("available_instances").is_none(), "{row}");
    }
    // A daemon that hosts none and is asked by name says so.
    let daemon = Daemon::start(&format!("vgpu.max_devices = 0\n{STRICT}"))?;
    let refused = run(&["vgpu", "types", "--socket", &daemon.socket()])?;
    ensure!(
        refused.refusal()?.starts_with("not-supported: "),
        "{refused:?}"
    );
    Ok(())
}
