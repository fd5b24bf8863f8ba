//! vGPUs that a daemon hosts: they outlive it, and the next one knows them.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_display::Picture;
use irqbroker_protocol::Done;
use irqbroker_protocol::EventKind;
use irqbroker_protocol::Notice;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use irqbroker_protocol::VgpuState;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio_user::Client;
use libtest_mimic::Trial;
use rustix::process::Pid;
use rustix::process::Signal;
use serde_json::Value;

use crate::command::run;
use crate::daemon::Daemon;
use crate::daemon::PATIENCE;
use crate::daemon::Pair;
use crate::daemon::STRICT;
use crate::daemon::serve;
use crate::need::Need;
use crate::need::story;
use crate::peer::patient;
use crate::report::count;
use crate::report::rows;

/// As an operator would choose one.
const UUID: &str = "b3b9c5e4-5d0a-4a9b-8f6e-0c1d2e3f4a5b";

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "hosted_vgpu_outlives_a_killed_daemon_and_the_next_one_destroys_it",
            Need::Nothing,
            outlives,
        ),
        story(
            "hosted_vgpu_whose_process_dies_is_shown_as_stopped",
            Need::Nothing,
            dies,
        ),
        story(
            "watchers_are_told_of_a_hosted_vgpus_life",
            Need::Nothing,
            watched,
        ),
        story("hosted_vgpus_keep_to_the_budget", Need::Nothing, budget),
        story(
            "record_of_another_process_is_not_taken_for_a_host",
            Need::Nothing,
            forged,
        ),
        story(
            "hosted_vgpu_that_cannot_start_is_refused_and_the_log_says_why",
            Need::Nothing,
            cannot_start,
        ),
        story(
            "daemon_whose_spawner_dies_goes_on_and_creates_no_more",
            Need::Nothing,
            no_spawner,
        ),
        story("daemon_that_hosts_nothing_says_so", Need::Nothing, off),
    ]
}

fn create(daemon: &Daemon) -> anyhow::Result<Value> {
    daemon.report(&["vgpu", "create", "--type", "dual", "--id", UUID])
}

/// The one vGPU there is.
fn only(daemon: &Daemon) -> anyhow::Result<Value> {
    let list = daemon.report(&["vgpu", "list"])?;
    let [vgpu] = rows(&list, "vgpus")? else {
        anyhow::bail!("not one vgpu: {list}");
    };
    Ok(vgpu.clone())
}

fn kill(vgpu: &Value) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(count(vgpu, "pid")?)?).context("no pid")?;
    Ok(rustix::process::kill_process(pid, Signal::KILL)?)
}

fn outlives() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let created = create(&daemon)?;
    ensure!(
        created["uuid"] == UUID && created["state"] == "running",
        "{created}"
    );
    let again = daemon.run(&["vgpu", "create", "--type", "small", "--id", UUID])?;
    ensure!(
        again.refusal()?.starts_with("duplicate-vgpu: "),
        "{again:?}"
    );
    // A client draws two pixels on head 1, and stays.
    let socket = created["socket"].as_str().context("no socket")?.to_owned();
    let client = Client::connect(Path::new(&socket), patient())?;
    client.region_write(RegionIndex::BAR0, 0, &[3, 2, 1, 0, 6, 5, 4, 0])?;
    for (at, value) in [(0x964, 8), (0x968, 1 << 16 | 2), (0x96c, 1)] {
        client.region_write(RegionIndex::BAR2, at, &u32::to_le_bytes(value))?;
    }

    let daemon = daemon.kill_and_restart()?;

    ensure!(only(&daemon)? == created, "{}", only(&daemon)?);
    let mut pixel = [0; 4];
    client.region_read(RegionIndex::BAR0, 4, &mut pixel)?;
    ensure!(pixel == [6, 5, 4, 0], "{pixel:?}");
    let file = daemon.path("picture.png").display().to_string();
    daemon.report(&["vgpu", "screenshot", "--id", UUID, "--head", "1", &file])?;
    let picture = Picture::from_png(&fs::read(&file)?)?;
    ensure!(picture.rgb() == [1, 2, 3, 4, 5, 6], "{picture:?}");

    // The client is not to be asked: it has bound nothing.
    daemon.report(&["vgpu", "destroy", UUID, "--force"])?;
    ensure!(rows(&daemon.report(&["vgpu", "list"])?, "vgpus")?.is_empty());
    ensure!(
        client
            .region_read(RegionIndex::BAR0, 4, &mut pixel)
            .is_err()
    );
    let left: Vec<_> = fs::read_dir(daemon.path("vgpu"))?.collect();
    ensure!(left.is_empty(), "{left:?}");
    let gone = daemon.run(&["vgpu", "screenshot", "--id", UUID, &file])?;
    ensure!(gone.refusal()?.starts_with("no vgpu "), "{gone:?}");
    // To be created again.
    create(&daemon)?;
    Ok(())
}

fn dies() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let created = create(&daemon)?;
    kill(&created)?;
    daemon.until(&["vgpu", "list"], |list| {
        list["vgpus"][0]["state"] == "stopped"
    })?;
    // Killed with the daemon away, the next one finds it so.
    let daemon = daemon.kill_and_restart()?;
    ensure!(only(&daemon)?["state"] == "stopped", "{}", only(&daemon)?);
    daemon.report(&["vgpu", "destroy", UUID])?;
    let left: Vec<_> = fs::read_dir(daemon.path("vgpu"))?.collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

fn watched() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let mut watcher = daemon.connect(&[Scope::ReadOnly])?;
    let Done {} = watcher.ask(&Request::Watch)?;
    create(&daemon)?;
    daemon.report(&["vgpu", "destroy", UUID])?;
    let mut states = Vec::new();
    while states.last() != Some(&VgpuState::Destroyed) {
        let notice = watcher.notice(Some(PATIENCE))?.context("no event")?;
        if let (Notice::Event(event), _) = notice
            && let EventKind::Vgpu { uuid, state, .. } = event.kind
        {
            ensure!(uuid == UUID, "{uuid}");
            states.push(state);
        }
    }
    let life = [
        VgpuState::Starting,
        VgpuState::Running,
        VgpuState::Destroyed,
    ];
    ensure!(states == life, "{states:?}");
    Ok(())
}

fn budget() -> anyhow::Result<()> {
    let daemon = Daemon::start(&format!("vgpu.max_devices = 1\n{STRICT}"))?;
    create(&daemon)?;
    let beyond = daemon.run(&["vgpu", "create", "--type", "small"])?;
    ensure!(
        beyond.refusal()?.starts_with("quota-exceeded: "),
        "{beyond:?}"
    );
    // What is there after a restart counts.
    let daemon = daemon.kill_and_restart()?;
    let beyond = daemon.run(&["vgpu", "create", "--type", "small"])?;
    ensure!(
        beyond.refusal()?.starts_with("quota-exceeded: "),
        "{beyond:?}"
    );
    Ok(())
}

/// The record of a host that is gone speaks of a pid that somebody else has now: this story.
fn forged() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let created = create(&daemon)?;
    kill(&created)?;
    daemon.until(&["vgpu", "list"], |list| {
        list["vgpus"][0]["state"] == "stopped"
    })?;
    let file = daemon.path("vgpu").join(format!("{UUID}.json"));
    let mut record: Value = serde_json::from_slice(&fs::read(&file)?)?;
    record["process"]["pid"] = std::process::id().into();
    fs::write(&file, record.to_string())?;
    let daemon = daemon.kill_and_restart()?;
    ensure!(only(&daemon)?["state"] == "stopped", "{}", only(&daemon)?);
    // It would end the story.
    daemon.report(&["vgpu", "destroy", UUID])?;
    Ok(())
}

fn cannot_start() -> anyhow::Result<()> {
    let folder = Daemon::prepare(tempfile::tempdir()?, STRICT)?;
    let mut command = serve(folder.path());
    command.args(["--set", "vgpu.run_dir=/proc/nowhere"]);
    command.stderr(Stdio::piped());
    let mut daemon = Daemon::launch_with(folder, command)?;
    let refused = daemon.run(&["vgpu", "create", "--type", "small", "--id", UUID])?;
    let line = refused.refusal()?;
    ensure!(
        line.contains("did not start: No such file or directory"),
        "{line}"
    );
    ensure!(rows(&daemon.report(&["vgpu", "list"])?, "vgpus")?.is_empty());
    daemon.signal(Signal::TERM)?;
    let log = daemon.end()?;
    ensure!(
        log.contains("cannot start a host") && log.contains(UUID),
        "{log}"
    );
    Ok(())
}

/// The daemon's only child.
pub(crate) fn spawner(daemon: &Daemon) -> anyhow::Result<Pid> {
    let pid = count(&daemon.report(&["status"])?, "pid")?;
    for entry in fs::read_dir("/proc")? {
        let stat = fs::read_to_string(entry?.path().join("stat")).unwrap_or_default();
        // pid (name) state parent ... (`proc_pid_stat(5)`).
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1));
        if parent == Some(pid.to_string().as_str()) {
            let own = stat.split(' ').next().context("no pid")?;
            return Pid::from_raw(own.parse()?).context("no pid");
        }
    }
    anyhow::bail!("the daemon has no child")
}

fn no_spawner() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let pair = Pair::register(&daemon, "head0")?;
    let created = create(&daemon)?;
    rustix::process::kill_process(spawner(&daemon)?, Signal::KILL)?;
    // Asked for what is refused anyway, until it is for this reason.
    let begun = std::time::Instant::now();
    loop {
        let refused = daemon.run(&["vgpu", "create", "--type", "small"])?;
        if refused.code == Some(1) && refused.stderr.contains("takes no orders") {
            break;
        }
        ensure!(begun.elapsed() < PATIENCE, "{refused:?}");
    }
    pair.deliver()?;
    // The next one has a spawner, and finds what there is.
    let daemon = daemon.kill_and_restart()?;
    let list = daemon.report(&["vgpu", "list"])?;
    ensure!(rows(&list, "vgpus")?.contains(&created), "{list}");
    daemon.report(&["vgpu", "destroy", UUID])?;
    Ok(())
}

fn off() -> anyhow::Result<()> {
    let daemon = Daemon::start(&format!("vgpu.max_devices = 0\n{STRICT}"))?;
    let refused = daemon.run(&["vgpu", "create", "--type", "small"])?;
    ensure!(
        refused.refusal()?.starts_with("not-supported: "),
        "{refused:?}"
    );
    ensure!(!daemon.path("vgpu").exists());
    let usage = run(&["vgpu", "screenshot", "picture.png"])?;
    ensure!(usage.code == Some(2), "{usage:?}");
    Ok(())
}
