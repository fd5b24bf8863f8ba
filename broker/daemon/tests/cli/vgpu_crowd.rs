//! Many at the sockets of one vGPU: none of them takes the guest's device, its time, or all places.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio_user::Client;
use irqbroker_vfio_user::ClientOptions;
use libtest_mimic::Trial;
use rustix::process::Pid;
use rustix::process::Resource;
use rustix::process::Rlimit;

use crate::command::fresh_path;
use crate::command::run;
use crate::need::Need;
use crate::need::story;
use crate::vgpu::Serving;
use crate::vgpu::screenshot;

/// Longer than anything takes here: it ends a story that hangs, and no other.
const PATIENCE: Duration = Duration::from_secs(120);
/// Those who may look at one head at a time.
const LOOKERS: usize = 16;
/// Enough for a server that gives way to others to be caught at it.
const READS: usize = 500;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "vgpu_serve_goes_on_with_its_client_when_there_are_too_many_open_files",
            Need::Nothing,
            too_many_files,
        ),
        story(
            "vgpu_serve_answers_its_client_while_others_keep_connecting",
            Need::Nothing,
            connectors,
        ),
        story(
            "vgpu_serve_does_not_wake_the_guests_thread_for_those_who_look",
            Need::Nothing,
            lookers,
        ),
        story(
            "vgpu_serve_shows_a_head_to_sixteen_at_a_time",
            Need::Nothing,
            sixteen,
        ),
        story(
            "vgpu_screenshot_is_taken_however_many_keep_silent_on_the_socket",
            Need::Nothing,
            silent,
        ),
    ]
}

fn connect(path: &str) -> anyhow::Result<Client> {
    let options = ClientOptions {
        timeout: PATIENCE,
        ..ClientOptions::default()
    };
    Client::connect(Path::new(path), options).with_context(|| path.to_owned())
}

/// The socket of head 0.
fn head(serving: &Serving) -> String {
    format!("{}.head0", serving.socket)
}

/// A register of the guest's device.
fn read_register(client: &Client) -> anyhow::Result<()> {
    let mut vendor = [0; 2];
    client.region_read(RegionIndex::CONFIG, 0, &mut vendor)?;
    ensure!(vendor == [0x34, 0x12], "{vendor:x?}");
    Ok(())
}

fn too_many_files() -> anyhow::Result<()> {
    let mut serving = Serving::start("small", "files.sock")?;
    let client = connect(&serving.socket)?;
    read_register(&client)?;
    let pid = Pid::from_child(&serving.process);
    let is_open = |fd: &u64| std::fs::exists(format!("/proc/{}/fd/{fd}", serving.process.id()));
    let mut free = 0;
    while is_open(&free)? {
        free += 1;
    }
    let limit = |current: Option<u64>| {
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        rustix::process::prlimit(Some(pid), Resource::Nofile, Rlimit { current, maximum })
    };
    // None is left.
    let before = limit(Some(free))?;

    let mut second = UnixStream::connect(&serving.socket)?;
    let looker = UnixStream::connect(head(&serving))?;
    // The first of these meets the others at the sockets.
    for _ in 0..READS {
        read_register(&client)?;
    }
    ensure!(serving.process.try_wait()?.is_none(), "it has ended");
    // Nor do those who wait keep the thread awake while the client rests.
    let resting = sleeps(&serving)?;
    run(&["vgpu", "types", "--json"])?.report()?;
    ensure!(sleeps(&serving)? == resting, "woken up for nothing");

    limit(before.current)?;
    drop(looker);
    // Who has waited is turned away, by a server that something wakes up.
    second.set_read_timeout(Some(Duration::from_millis(10)))?;
    let deadline = Instant::now() + PATIENCE;
    while second.read(&mut [0]).is_err() {
        ensure!(Instant::now() < deadline, "the second waits");
        read_register(&client)?;
    }
    // And the head can be looked at.
    connect(&head(&serving))?.info()?;
    Ok(())
}

fn connectors() -> anyhow::Result<()> {
    let serving = Serving::start("small", "storm.sock")?;
    let client = connect(&serving.socket)?;
    let looker = connect(&head(&serving))?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for path in [&serving.socket, &head(&serving)].map(ToOwned::to_owned) {
            for _ in 0..2 {
                let (path, done) = (path.clone(), &done);
                scope.spawn(move || {
                    // Only says when to end.
                    while !done.load(Ordering::Relaxed) {
                        // It may find no room in the backlog.
                        drop(UnixStream::connect(&path));
                    }
                });
            }
        }
        let (tell, told) = mpsc::channel();
        scope.spawn(move || {
            let reads = || {
                for _ in 0..READS {
                    read_register(&client)?;
                    looker.info()?;
                }
                anyhow::Ok(())
            };
            // Nobody listens any more where it took too long.
            let _ = tell.send(reads());
        });
        let answered = told.recv_timeout(PATIENCE);
        done.store(true, Ordering::Relaxed);
        answered.context("no answer while others connect")?
    })
}

/// How often the thread that serves the guest went to sleep, once it sleeps.
fn sleeps(serving: &Serving) -> anyhow::Result<String> {
    let pid = serving.process.id();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let status = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/status"))?;
        let line = |key| status.lines().find(|line| line.starts_with(key));
        let state = line("State:").context("no state")?;
        if state.contains("(sleeping)") {
            return Ok(line("voluntary_ctxt").context("no switches")?.to_owned());
        }
        std::thread::yield_now();
    }
    bail!("it never sleeps")
}

fn lookers() -> anyhow::Result<()> {
    let serving = Serving::start("small", "lookers.sock")?;
    let client = connect(&serving.socket)?;
    // A picture of 64 by 64.
    for (at, value) in [(0x506, 32), (0x502, 64), (0x504, 64), (0x508, 0x41)] {
        client.region_write(RegionIndex::BAR2, at, &u16::to_le_bytes(value))?;
    }
    let file = fresh_path("lookers.png")?;
    let before = sleeps(&serving)?;

    for _ in 0..3 {
        run(&screenshot(&serving, "0", &file))?.report()?;
    }
    let looker = connect(&head(&serving))?;
    for _ in 0..READS {
        looker.info()?;
    }

    let after = sleeps(&serving)?;
    ensure!(before == after, "{before}, then {after}");
    read_register(&client)?;
    ensure!(sleeps(&serving)? != before, "the guest is served elsewhere");
    Ok(())
}

fn sixteen() -> anyhow::Result<()> {
    let serving = Serving::start("small", "sixteen.sock")?;
    let head = head(&serving);
    let lookers: anyhow::Result<Vec<Client>> = (0..LOOKERS).map(|_| connect(&head)).collect();
    let mut lookers = lookers?;
    for looker in &lookers {
        ensure!(looker.info()?.num_regions == 3, "not a view");
    }
    ensure!(connect(&head).is_err(), "one more than there may be");
    // The one who leaves makes room, whoever that is.
    drop(lookers.swap_remove(LOOKERS / 2));
    lookers.push(connect(&head)?);
    for looker in &lookers {
        looker.info()?;
    }
    Ok(())
}

fn silent() -> anyhow::Result<()> {
    let serving = Serving::start("small", "silent.sock")?;
    let client = connect(&serving.socket)?;
    for (at, value) in [(0x506, 32), (0x502, 64), (0x504, 64), (0x508, 0x41)] {
        client.region_write(RegionIndex::BAR2, at, &u16::to_le_bytes(value))?;
    }
    let file = fresh_path("silent.png")?;
    let head = head(&serving);
    let crowd: std::io::Result<Vec<UnixStream>> = (0..2 * LOOKERS)
        .map(|_| UnixStream::connect(&head))
        .collect();
    let crowd = crowd?;
    for _ in 0..3 {
        run(&screenshot(&serving, "0", &file))?.report()?;
    }
    drop(crowd);
    Ok(())
}
