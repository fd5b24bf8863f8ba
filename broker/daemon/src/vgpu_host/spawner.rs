//! The helper that starts, finds and ends hosts for a daemon that may not.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use irqbroker::vgpu::VgpuType;
use irqbroker_protocol::Connection;
use irqbroker_protocol::ReceiveError;
use irqbroker_protocol::VgpuRow;
use irqbroker_protocol::VgpuState;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;
use uuid::Uuid;

use super::child::Host;
use super::end_socket::GRACE;
use super::order::Order;
use super::order::Report;
use super::question;
use super::question::Decision;
use super::question::Question;
use super::record;
use crate::config::LogLevel;
use crate::trace;

/// Options of the helper.
#[derive(Debug, Args)]
pub(crate) struct SpawnerArgs {
    /// Where the sockets and records are
    #[arg(long, value_name = "DIR")]
    pub(super) run_dir: PathBuf,
}

/// Hosts for the daemon at the other end of standard input, until that is gone.
///
/// # Errors
///
/// Standard input is no socket of a daemon, or the run directory cannot be read.
pub(crate) fn run(args: &SpawnerArgs) -> anyhow::Result<()> {
    // What a terminal sends to the daemon is not for this process: it ends once the daemon has.
    rustix::process::setsid().context("cannot begin a session")?;
    // The daemon's log is this one's too.
    let _level = trace::install_daemon(LogLevel::Warn);
    let daemon = std::io::stdin().as_fd().try_clone_to_owned()?;
    let mut spawner = Spawner {
        daemon: Connection::new(daemon),
        run_dir: args.run_dir.clone(),
        hosts: BTreeMap::new(),
        questions: Vec::new(),
    };
    spawner.adopt()?;
    loop {
        spawner.wait()?;
        let changed = spawner.look();
        let alive = spawner.obey()?;
        spawner.decide()?;
        // Last: one that has ended because it was asked to is not told of as one that has just ended.
        spawner.tell(&changed)?;
        spawner.bury()?;
        if alive == Daemon::Gone {
            return Ok(());
        }
    }
}

/// Whether the daemon is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Daemon {
    Alive,
    Gone,
}

#[derive(Debug)]
struct Spawner {
    daemon: Connection,
    run_dir: PathBuf,
    hosts: BTreeMap<Uuid, Host>,
    /// Destroys that are not decided yet.
    questions: Vec<Question>,
}

impl Spawner {
    /// Finds the hosts of earlier daemons.
    fn adopt(&mut self) -> anyhow::Result<()> {
        let records = record::read_all(&self.run_dir);
        let records = records.with_context(|| format!("cannot read {}", self.run_dir.display()))?;
        for record in records {
            let host = Host::adopt(&record, &self.run_dir);
            report(&self.daemon, &host.row, None)?;
            self.hosts.insert(record.uuid, host);
        }
        send(&self.daemon, &Report::Ready)
    }

    fn wait(&self) -> anyhow::Result<()> {
        let hosts = self.hosts.values().flat_map(Host::waits);
        let answers = self.questions.iter().filter_map(Question::wait);
        let mut fds: Vec<PollFd<'_>> = std::iter::once(self.daemon.as_fd())
            .chain(hosts)
            .chain(answers.map(AsFd::as_fd))
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let kills = self.hosts.values().filter_map(|host| host.kill_at);
        let limits = self.questions.iter().map(|question| question.deadline);
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        let left = kills.chain(limits).min().map(left);
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match rustix::event::poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks at each host; which stand otherwise now.
    fn look(&mut self) -> Vec<Uuid> {
        let mut changed = Vec::new();
        for (uuid, host) in &mut self.hosts {
            if host.look() {
                // The address of VNC is known now.
                if let Some(record) = record::read_one(&self.run_dir, *uuid) {
                    host.row.vnc = record.vnc;
                }
                tracing::debug!(%uuid, state = ?host.row.state, "host");
                changed.push(*uuid);
            }
        }
        changed
    }

    /// Tells how they stand, but of those that are to be forgotten.
    fn tell(&self, changed: &[Uuid]) -> anyhow::Result<()> {
        let hosts = changed.iter().filter_map(|uuid| self.hosts.get(uuid));
        for host in hosts.filter(|host| !host.destroyed) {
            report(&self.daemon, &host.row, None)?;
        }
        Ok(())
    }

    /// Does what the daemon asks.
    fn obey(&mut self) -> anyhow::Result<Daemon> {
        loop {
            let mut now = [PollFd::new(&self.daemon, PollFlags::IN)];
            let none = Timespec::default();
            if rustix::event::poll(&mut now, Some(&none)) == Ok(0) {
                return Ok(Daemon::Alive);
            }
            let order = match self.daemon.receive() {
                Ok(packet) => serde_json::from_slice(packet.bytes)?,
                Err(ReceiveError::Closed) => return Ok(Daemon::Gone),
                Err(ReceiveError::WouldBlock) => return Ok(Daemon::Alive),
                Err(error) => return Err(error.into()),
            };
            match order {
                Order::Create {
                    uuid,
                    vgpu_type,
                    vnc,
                } => {
                    self.create(uuid, &vgpu_type, vnc.as_deref())?;
                }
                Order::Destroy {
                    uuid,
                    ticket,
                    force,
                } => {
                    let question = Question::new(uuid, ticket, force, Instant::now());
                    self.questions.push(question);
                }
            }
        }
    }

    fn create(&mut self, uuid: Uuid, vgpu_type: &str, vnc: Option<&str>) -> anyhow::Result<()> {
        // The daemon has looked; but it is the daemon that is confined.
        if self.hosts.contains_key(&uuid) || VgpuType::find(vgpu_type).is_none() {
            return Ok(());
        }
        match Host::start(&self.run_dir, uuid, vgpu_type, vnc) {
            Ok(host) => {
                report(&self.daemon, &host.row, None)?;
                self.hosts.insert(uuid, host);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%uuid, %error, "cannot start a host");
                let row = VgpuRow {
                    uuid: uuid.to_string(),
                    vgpu_type: vgpu_type.to_owned(),
                    socket: record::socket(&self.run_dir, uuid).display().to_string(),
                    vnc: None,
                    state: VgpuState::Destroyed,
                    pid: None,
                };
                report(&self.daemon, &row, Some(&error.to_string()))
            }
        }
    }

    /// Goes on with what is not decided, and does what is.
    fn decide(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        for host in self.hosts.values_mut() {
            host.kill_if_late(now);
        }
        for mut question in std::mem::take(&mut self.questions) {
            let (uuid, ticket) = (question.uuid, question.ticket);
            let socket = record::end_socket(&self.run_dir, uuid);
            let mut host = self.hosts.get_mut(&uuid);
            let Some(decision) = question.look(host.as_deref(), &socket, now) else {
                self.questions.push(question);
                continue;
            };
            tracing::debug!(%uuid, ?decision, "destroy");
            let refusal = match (decision, &mut host) {
                (Decision::Refused(refusal), _) => Some(refusal),
                (Decision::End, Some(host)) => {
                    host.destroy();
                    None
                }
                (Decision::EndLater, Some(host)) => {
                    host.destroy_by(now + GRACE + question::LIMIT);
                    None
                }
                (_, None) => None,
            };
            send(&self.daemon, &Report::Decided { ticket, refusal })?;
        }
        Ok(())
    }

    /// Forgets those that were told to end and have, or never served.
    fn bury(&mut self) -> anyhow::Result<()> {
        let over = |host: &Host| host.destroyed && !host.lives();
        for (uuid, host) in &mut self.hosts {
            if over(host) {
                record::remove(&self.run_dir, *uuid);
                host.row.state = VgpuState::Destroyed;
                host.row.pid = None;
                report(&self.daemon, &host.row, host.failure.as_deref())?;
            }
        }
        self.hosts.retain(|_, host| !over(host));
        Ok(())
    }
}

fn report(daemon: &Connection, row: &VgpuRow, reason: Option<&str>) -> anyhow::Result<()> {
    let row = row.clone();
    let reason = reason.map(str::to_owned);
    send(daemon, &Report::Vgpu { row, reason })
}

/// A daemon that is gone is found out by reading.
fn send(daemon: &Connection, report: &Report) -> anyhow::Result<()> {
    let bytes = serde_json::to_vec(report)?;
    if let Err(error) = daemon.send(&bytes, &[]) {
        tracing::warn!(%error, "cannot report to the daemon");
    }
    Ok(())
}
