//! Hosted vGPUs that are to be destroyed while somebody uses them, or just then.

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_protocol::Connection;
use irqbroker_protocol::CreateVgpu;
use irqbroker_protocol::DestroyVgpu;
use irqbroker_protocol::Done;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use irqbroker_protocol::VgpuRow;
use irqbroker_protocol::VgpuState;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::IrqAction;
use irqbroker_vfio::abi::IrqData;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::abi::IrqSet;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio_user::Client;
use libtest_mimic::Trial;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Pid;
use rustix::process::Signal;
use serde_json::Value;

use crate::command::Answer;
use crate::daemon::Daemon;
use crate::daemon::PATIENCE;
use crate::daemon::STRICT;
use crate::need::Need;
use crate::need::story;
use crate::peer::patient;
use crate::report::count;
use crate::report::rows;
use crate::vgpu_clients::config_read;
use crate::vgpu_clients::opened;

/// Some UUID.
const UUID: &str = "6d1f4c9e-0000-4000-8000-000000000020";
const DESTROY: [&str; 3] = ["vgpu", "destroy", UUID];
const FORCE: [&str; 4] = ["vgpu", "destroy", UUID, "--force"];
/// How long a user that was asked may keep the device, as `vgpu destroy --help` says.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "hosted_vgpu_in_use_is_not_destroyed_and_lookers_are_no_users",
            Need::Nothing,
            in_use,
        ),
        story(
            "hosted_vgpu_destroyed_by_force_is_asked_back_first",
            Need::Nothing,
            asked_back,
        ),
        story(
            "hosted_vgpu_whose_user_keeps_it_is_destroyed_by_force_in_the_end",
            Need::Nothing,
            kept,
        ),
        story(
            "hosted_vgpu_that_is_destroyed_while_a_user_comes_is_used_or_gone",
            Need::Nothing,
            raced,
        ),
        story(
            "hosted_vgpu_that_does_not_answer_is_destroyed_by_force_only",
            Need::Nothing,
            silent,
        ),
        story(
            "hosted_vgpu_that_is_destroyed_while_it_starts_is_gone",
            Need::Nothing,
            starting,
        ),
        story(
            "hosted_vgpu_whose_user_died_with_its_last_words_unread_is_destroyed",
            Need::Nothing,
            last_words,
        ),
    ]
}

/// One that is hosted, with VNC.
pub(crate) fn create(daemon: &Daemon) -> anyhow::Result<Value> {
    let create = ["vgpu", "create", "--type", "small", "--id", UUID];
    daemon.report(&[&create[..], &["--vnc", "127.0.0.1:0"]].concat())
}

fn text<'a>(row: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    row[key]
        .as_str()
        .with_context(|| format!("no {key}: {row}"))
}

pub(crate) fn attach(created: &Value) -> anyhow::Result<Client> {
    Ok(Client::connect(
        Path::new(text(created, "socket")?),
        patient(),
    )?)
}

/// Whether a client has the device.
pub(crate) fn has_it(client: &Client) -> bool {
    let mut vendor = [0; 2];
    let read = client.region_read(RegionIndex::CONFIG, 0, &mut vendor);
    read.is_ok() && vendor == [0x34, 0x12]
}

/// An eventfd that is signalled when a client is to give the device back.
fn bind_req(client: &Client) -> anyhow::Result<OwnedFd> {
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
    client.set_irqs(&IrqSet {
        index: IrqIndex::REQ,
        start: 0,
        action: IrqAction::Trigger,
        data: IrqData::Eventfds(&[Some(event.as_fd())]),
    })?;
    Ok(event)
}

fn wait_for(event: &OwnedFd) -> anyhow::Result<()> {
    let mut fds = [PollFd::new(event, PollFlags::IN)];
    let came = rustix::event::poll(&mut fds, Some(&Timespec::try_from(PATIENCE)?))?;
    ensure!(came == 1, "nobody asks for the device");
    Ok(())
}

fn busy(answer: &Answer) -> anyhow::Result<()> {
    let expected = format!("busy: vgpu {UUID} is in use; --force takes it from its user");
    ensure!(answer.refusal()? == expected, "{answer:?}");
    Ok(())
}

pub(crate) fn signal_host(created: &Value, signal: Signal) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(count(created, "pid")?)?).context("no pid")?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

fn is_gone(daemon: &Daemon) -> anyhow::Result<()> {
    let list = daemon.report(&["vgpu", "list"])?;
    ensure!(rows(&list, "vgpus")?.is_empty(), "{list}");
    let left: Vec<_> = std::fs::read_dir(daemon.path("vgpu"))?.collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

fn in_use() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let created = create(&daemon)?;
    let looker = format!("{}.head0", text(&created, "socket")?);
    let looker = Client::connect(Path::new(&looker), patient())?;
    let _viewer = TcpStream::connect(text(&created, "vnc")?)?;
    let client = attach(&created)?;
    let list = daemon.report(&["vgpu", "list"])?;

    busy(&daemon.run(&DESTROY)?)?;

    ensure!(daemon.report(&["vgpu", "list"])? == list, "{list}");
    ensure!(has_it(&client), "the device is gone");
    // The next daemon did not start the host.
    let daemon = daemon.kill_and_restart()?;
    busy(&daemon.run(&DESTROY)?)?;
    ensure!(has_it(&client), "the device is gone");
    drop(client);
    daemon.report(&DESTROY)?;
    is_gone(&daemon)?;
    ensure!(!has_it(&looker), "there is still a picture");
    Ok(())
}

fn asked_back() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let created = create(&daemon)?;
    let client = attach(&created)?;
    let event = bind_req(&client)?;
    let destroyed = std::thread::scope(|scope| {
        let forced = scope.spawn(|| daemon.run(&FORCE));
        wait_for(&event)?;
        let still_there = has_it(&client);
        drop(client);
        let destroyed = forced.join();
        ensure!(still_there, "it was not waited for");
        destroyed.ok().context("a panic")?
    })?;
    ensure!(destroyed.code == Some(0), "{destroyed:?}");
    is_gone(&daemon)?;
    // A user that cannot be asked is not waited for, and finds the device gone.
    let client = attach(&create(&daemon)?)?;
    daemon.report(&FORCE)?;
    is_gone(&daemon)?;
    ensure!(!has_it(&client), "the device is still there");
    Ok(())
}

fn kept() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let client = attach(&create(&daemon)?)?;
    let event = bind_req(&client)?;
    let begun = Instant::now();
    daemon.report(&FORCE)?;
    ensure!(begun.elapsed() >= GRACE, "{:?}", begun.elapsed());
    wait_for(&event)?;
    is_gone(&daemon)?;
    ensure!(!has_it(&client), "the device is still there");
    Ok(())
}

/// Enough for either to come first, on most machines.
const RACES: usize = 10;

fn raced() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    for _ in 0..RACES {
        let created = create(&daemon)?;
        let (client, destroyed) = std::thread::scope(|scope| {
            let client = scope.spawn(|| attach(&created).ok());
            let destroyed = daemon.run(&DESTROY);
            (client.join(), destroyed)
        });
        let (client, destroyed) = (client.ok().context("a panic")?, destroyed?);
        match destroyed.code {
            Some(0) => {
                is_gone(&daemon)?;
                let has_it = client.as_ref().is_some_and(has_it);
                ensure!(!has_it, "a user of a vgpu that is gone");
            }
            _ => {
                busy(&destroyed)?;
                let has_it = client.as_ref().is_some_and(has_it);
                ensure!(has_it, "busy, and its user has lost it");
                drop(client);
                daemon.report(&DESTROY)?;
            }
        }
    }
    Ok(())
}

fn silent() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let created = create(&daemon)?;
    signal_host(&created, Signal::STOP)?;
    let list = daemon.report(&["vgpu", "list"])?;
    let mut operator = daemon.connect(&[Scope::Operator])?;
    let refused: Result<Done, _> = operator.ask(&destroy(false));
    let error = refused.err().context("it is destroyed")?;
    let expected = format!("vgpu {UUID} does not say whether it is in use; --force ends it");
    let refusal = error.refusal();
    ensure!(
        refusal.is_some_and(|why| why.code == ErrorCode::Internal && why.text == expected),
        "{error:?}"
    );
    ensure!(daemon.report(&["vgpu", "list"])? == list, "{list}");
    // What was refused does not happen later, when it reads what it was asked.
    signal_host(&created, Signal::CONT)?;
    let ends = format!("{}.end", text(&created, "socket")?);
    let mut next = Connection::connect(Path::new(&ends))?;
    next.send(b"no order", &[])?;
    // Left, which is after what came before it.
    ensure!(next.receive().is_err(), "an answer to no order");
    let client = attach(&created)?;
    ensure!(has_it(&client), "the device is gone");
    drop(client);
    ensure!(daemon.report(&["vgpu", "list"])? == list, "{list}");
    signal_host(&created, Signal::STOP)?;
    let Done {} = operator.ask(&destroy(true))?;
    daemon.until(&["vgpu", "list"], |list| {
        list["vgpus"].as_array().is_some_and(Vec::is_empty)
    })?;
    is_gone(&daemon)
}

/// What asks for it without the command, which waits for seconds only.
pub(crate) fn destroy(force: bool) -> Request {
    let uuid = UUID.to_owned();
    Request::VgpuDestroy(DestroyVgpu { uuid, force })
}

fn starting() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let mut operator = daemon.connect(&[Scope::Operator])?;
    let create = Request::VgpuCreate(CreateVgpu {
        vgpu_type: "small".to_owned(),
        uuid: Some(UUID.to_owned()),
        vnc: None,
    });
    let row: VgpuRow = operator.ask(&create)?;
    ensure!(row.state == VgpuState::Starting, "{row:?}");
    let Done {} = operator.ask(&destroy(false))?;
    daemon.until(&["vgpu", "list"], |list| {
        list["vgpus"].as_array().is_some_and(Vec::is_empty)
    })?;
    is_gone(&daemon)
}

fn last_words() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let created = create(&daemon)?;
    let mut user = opened(text(&created, "socket")?)?;
    signal_host(&created, Signal::STOP)?;
    // Half a message: to a whole one there would be an answer, which nobody takes.
    user.write_all(&config_read()[..21])?;
    drop(user);
    // As the daemon's helper asks; by now, and not a moment later.
    let ends = format!("{}.end", text(&created, "socket")?);
    let mut helper = Connection::connect(Path::new(&ends))?;
    helper.send(br#""if-unused""#, &[])?;
    signal_host(&created, Signal::CONT)?;
    let answer = helper.receive()?.bytes;
    ensure!(answer == br#""ending""#, "{answer:?}");
    // Nobody else had asked it to.
    daemon.until(&["vgpu", "list"], |list| {
        list["vgpus"][0]["state"] == "stopped"
    })?;
    daemon.report(&DESTROY)?;
    is_gone(&daemon)
}
