//! A level line between processes: its events one way, the guest's EOIs the other.

use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker::ProducerInfo;
use irqbroker::Registry;
use irqbroker::Token;
use irqbroker::client::ClientEvent;
use irqbroker::client::ClientOptions;
use irqbroker::client::ControlClient;
use irqbroker::client::ProducerSpec;
use irqbroker_protocol::PathPolicy;
use irqbroker_protocol::Request;
use irqbroker_protocol::SetPath;
use irqbroker_protocol::State;
use libtest_mimic::Trial;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;

use crate::need::Need;
use crate::need::story;
use crate::serve_rig::Daemon;
use crate::serve_rig::PATIENCE;
use crate::serve_rig::ask;
use crate::serve_rig::eventfd;
use crate::serve_rig::name;
use crate::serve_rig::taken;
use crate::vmm::Seen;
use crate::vmm::Takes;
use crate::vmm::Vmm;

/// The link.
const LINK: &str = "line";

/// Interrupts on each path; every one waits for the EOI of the one before.
const ROUNDS: u64 = 100;

/// Between two looks at what comes by no event of ours.
const LOOK: Duration = Duration::from_millis(1);

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "serve_forwards_a_level_line_and_each_of_its_eois",
            Need::Kvm,
            paths,
        ),
        story(
            "serve_killed_leaves_a_level_line_its_eois",
            Need::Kvm,
            death,
        ),
    ]
}

/// A device with an automasked level line, in this process.
struct Device {
    client: ControlClient,
    line: Token,
    /// Signalled at the guest's EOI.
    unmask: Option<OwnedFd>,
    /// Interrupts so far.
    fired: u64,
}

impl Device {
    fn new(socket: &str) -> anyhow::Result<Self> {
        let options = ClientOptions::new(socket, "device");
        let mut client = ControlClient::new(options, Registry::new()?)?;
        let line = Token::of(eventfd()?)?;
        client.produce(ProducerSpec {
            name: name("line.p")?,
            link: Some(name(LINK)?),
            event: line.clone(),
            info: ProducerInfo::automasked_level(),
            redirect: None,
        })?;
        Ok(Self {
            client,
            line,
            unmask: None,
            fired: 0,
        })
    }

    /// Serves the client until its unmask event is signalled, `limit` has passed, or, without one,
    /// something has come. Returns whether it is signalled.
    fn wait(&mut self, limit: Duration) -> anyhow::Result<bool> {
        let limit = Timespec::try_from(limit)?;
        let mut fds = vec![PollFd::from_borrowed_fd(
            self.client.poll_fd(),
            PollFlags::IN,
        )];
        fds.extend(self.unmask.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        rustix::event::poll(&mut fds, Some(&limit))?;
        let unmasked = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        self.client.service();
        for event in self.client.take_events() {
            match event {
                ClientEvent::Paired {
                    partner: Some(_),
                    resample,
                    ..
                } => self.unmask = Some(resample.context("no unmask event came along")?),
                ClientEvent::Refused { error, .. } => bail!("{error}"),
                _ => {}
            }
        }
        Ok(unmasked)
    }

    /// How often it has been told to unmask.
    fn unmasks(&self) -> u64 {
        self.unmask.as_ref().map_or(0, taken)
    }

    fn fire(&mut self) -> anyhow::Result<()> {
        ensure!(self.unmasks() == 0, "unmasked without an interrupt");
        rustix::io::write(&self.line, &1u64.to_ne_bytes())?;
        self.fired += 1;
        Ok(())
    }

    /// Fires, and waits until it is told to unmask.
    fn interrupt(&mut self, vmm: &mut Vmm) -> anyhow::Result<()> {
        self.fire()?;
        let until = Instant::now() + PATIENCE;
        let mut signals = 0;
        while signals == 0 {
            ensure!(
                Instant::now() < until,
                "interrupt {}: {signals} signals of its eoi, {:?}",
                self.fired,
                vmm.look()?
            );
            self.wait(LOOK)?;
            signals += self.unmasks();
        }
        let fired = self.fired;
        ensure!(signals == 1, "{signals} signals of eoi {fired}");
        Ok(())
    }

    fn interrupts(&mut self, vmm: &mut Vmm) -> anyhow::Result<()> {
        for _ in 0..ROUNDS {
            self.interrupt(vmm)?;
        }
        let fired = self.fired;
        let seen = self.until(vmm, |seen| seen.delivered[0] >= fired)?;
        ensure!(seen.all_delivered(fired), "{seen:?} of {fired}");
        // Of the last one too there was no second signal, which no later round would find.
        let more = self.unmasks();
        ensure!(
            more == 0,
            "{more} signals more than {ROUNDS} of as many eois"
        );
        Ok(())
    }

    /// Serves its client until the VMM has come to this.
    fn until(&mut self, vmm: &mut Vmm, enough: impl Fn(&Seen) -> bool) -> anyhow::Result<Seen> {
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = vmm.look()?;
            if enough(&seen) {
                return Ok(seen);
            }
            ensure!(Instant::now() < until, "{seen:?} of {}", self.fired);
            self.wait(LOOK)?;
        }
    }
}

/// A device and a VMM that have met; the kernel forwards between them.
fn matched(daemon: &Daemon) -> anyhow::Result<(Device, Vmm)> {
    let mut device = Device::new(&daemon.socket)?;
    let mut vmm = Vmm::start(&daemon.socket, Takes::Level)?;
    let until = Instant::now() + PATIENCE;
    while device.unmask.is_none() {
        ensure!(Instant::now() < until, "no consumer came");
        device.wait(LOOK)?;
    }
    device.until(&mut vmm, Seen::all_bound)?;
    daemon.links_once(|rows| rows.len() == 1 && rows[0].state == State::Bypass)?;
    Ok((device, vmm))
}

fn set_path(daemon: &Daemon, path: PathPolicy) -> anyhow::Result<()> {
    let link = LINK.to_owned();
    let request = Request::SetPath(SetPath { link, path });
    ask(&mut daemon.client()?, &request, &[])
}

fn paths() -> anyhow::Result<()> {
    let daemon = Daemon::start("level.sock")?;
    let (mut device, mut vmm) = matched(&daemon)?;
    device.interrupts(&mut vmm)?;
    ensure!(daemon.status()?.relayed == 0, "the daemon is in the path");

    set_path(&daemon, PathPolicy::Relay)?;
    device.until(&mut vmm, |seen| !seen.all_bound())?;
    // An EOI may have got lost as it moved: it is unmasked once more, and each time after.
    ensure!(device.unmasks() == 1, "not unmasked after the move");
    device.interrupts(&mut vmm)?;
    ensure!(daemon.status()?.relayed == ROUNDS);

    set_path(&daemon, PathPolicy::Auto)?;
    device.until(&mut vmm, Seen::all_bound)?;
    ensure!(device.unmasks() == 1, "not unmasked after the move");
    device.interrupts(&mut vmm)?;
    ensure!(daemon.status()?.relayed == ROUNDS);
    Ok(())
}

fn death() -> anyhow::Result<()> {
    let mut daemon = Daemon::start("level-death.sock")?;
    let (mut device, mut vmm) = matched(&daemon)?;
    device.interrupt(&mut vmm)?;
    daemon.kill()?;
    device.interrupts(&mut vmm)?;
    daemon.restart()?;
    // Both register again while it goes on, and nobody is told to bind anew.
    device.interrupts(&mut vmm)?;
    let until = Instant::now() + PATIENCE;
    while !device.client.is_connected() {
        ensure!(Instant::now() < until, "no connection");
        device.wait(LOOK)?;
    }
    daemon.links_once(|rows| rows.len() == 1 && rows[0].state == State::Bypass)?;
    device.interrupts(&mut vmm)?;
    ensure!(daemon.status()?.relayed == 0, "the new daemon relayed");

    // Relayed, and the event waits for the next daemon.
    set_path(&daemon, PathPolicy::Relay)?;
    device.until(&mut vmm, |seen| !seen.all_bound())?;
    ensure!(device.unmasks() == 1, "not unmasked after the move");
    daemon.kill()?;
    device.fire()?;
    daemon.restart()?;
    let fired = device.fired;
    let seen = device.until(&mut vmm, |seen| {
        seen.all_bound() && seen.delivered[0] >= fired
    })?;
    ensure!(seen.all_delivered(fired), "{seen:?} of {fired}");
    let until = Instant::now() + PATIENCE;
    while !device.wait(LOOK)? {
        ensure!(Instant::now() < until, "the line stays masked");
    }
    Ok(())
}
