//! The daemon's side of hosting: a table, and the spawner's socket.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use anyhow::bail;
use irqbroker::vgpu::VgpuBudget;
use irqbroker_protocol::Connection;
use irqbroker_protocol::CreateVgpu;
use irqbroker_protocol::DestroyVgpu;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::EventKind;
use irqbroker_protocol::ReceiveError;
use irqbroker_protocol::VgpuRow;
use irqbroker_protocol::VgpuState;
use irqbroker_protocol::Vgpus;
use irqbroker_protocol::WireError;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use uuid::Uuid;

use super::order::Order;
use super::order::Report;
use super::order::Ticket;
use super::record;
use super::table::Table;
use crate::config::Vgpu;

/// How long the spawner may take to look at what is there, on a machine that keeps it from running too:
/// a thousand times what it does.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Bytes of a socket's path besides the run directory: `/UUID.sock.head15`.
const SOCKET_NAME: usize = 1 + 36 + ".sock.head15".len();
/// What a socket's path may have (`unix(7)`).
const SOCKET_PATH_LIMIT: usize = 107;

/// The hosted vGPUs. It has no thread: poll [`fd`](Self::fd), call [`service`](Self::service).
#[derive(Debug)]
pub(crate) struct VgpuHosts {
    spawner: Connection,
    /// Of the spawner's socket, as long as it lives.
    epoll: OwnedFd,
    /// Ends when its socket closes.
    _process: Child,
    run_dir: PathBuf,
    table: Table,
    last_ticket: Ticket,
    /// Destroys that are not decided yet.
    undecided: Vec<Ticket>,
    /// Those that are, and have not been taken.
    decided: Vec<(Ticket, Result<(), WireError>)>,
}

impl VgpuHosts {
    /// Starts the spawner and waits until it has found what earlier daemons left. Before the daemon is
    /// confined, or it cannot.
    ///
    /// # Errors
    ///
    /// The run directory's path is too long, or the spawner does not start.
    pub(crate) fn start(config: &Vgpu, run_dir: PathBuf) -> anyhow::Result<Self> {
        check(&run_dir)?;
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let mut process = Command::new("/proc/self/exe");
        process
            .arg0("irqbroker")
            .args(["vgpu", "spawner", "--run-dir"])
            .arg(&run_dir)
            .stdin(theirs)
            .stdout(Stdio::null());
        let process = process
            .spawn()
            .context("cannot start the spawner of vgpus")?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &ours,
            epoll::EventData::new_u64(0),
            epoll::EventFlags::IN,
        )?;
        let mut hosts = Self {
            spawner: Connection::new(ours),
            epoll,
            _process: process,
            run_dir,
            table: Table::new(budget(config)),
            last_ticket: Ticket(0),
            undecided: Vec::new(),
            decided: Vec::new(),
        };
        hosts.wait_until_ready()?;
        hosts.spawner.set_nonblocking(true)?;
        Ok(hosts)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let limit = Timespec::try_from(START_LIMIT)?;
        loop {
            let mut fds = [PollFd::new(&self.spawner, PollFlags::IN)];
            if rustix::event::poll(&mut fds, Some(&limit))? == 0 {
                bail!("the spawner of vgpus does not start");
            }
            let packet = self
                .spawner
                .receive()
                .context("the spawner of vgpus has ended")?;
            match serde_json::from_slice(packet.bytes)? {
                Report::Ready => return Ok(()),
                Report::Vgpu { row, .. } => drop(self.table.put(row)),
                // Nothing has been asked.
                Report::Decided { .. } => {}
            }
        }
    }

    /// Readable when there is something to do.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Takes over what the spawner reports: which vGPUs stand otherwise now, and how. A spawner that is
    /// gone is logged once; what it started goes on, and nothing can be created or destroyed any more.
    pub(crate) fn service(&mut self) -> Vec<EventKind> {
        let mut changes = Vec::new();
        loop {
            match self.receive() {
                Ok(Report::Vgpu { row, reason }) => {
                    let change = self.table.put(row);
                    changes.extend(change.map(|(uuid, state)| EventKind::Vgpu {
                        uuid,
                        state,
                        reason,
                    }));
                }
                Ok(Report::Decided { ticket, refusal }) => {
                    self.undecided.retain(|known| *known != ticket);
                    self.decided.push((ticket, refusal.map_or(Ok(()), Err)));
                }
                Ok(Report::Ready) => {}
                Err(ReceiveError::WouldBlock) => return changes,
                Err(error) => {
                    tracing::error!(%error, "the spawner of vgpus has ended");
                    let gone =
                        WireError::new(ErrorCode::Internal, "the spawner of vgpus has ended");
                    let undecided = self.undecided.drain(..);
                    self.decided
                        .extend(undecided.map(|ticket| (ticket, Err(gone.clone()))));
                    // Closed, it would be readable for ever.
                    let _gone = epoll::delete(&self.epoll, &self.spawner);
                    return changes;
                }
            }
        }
    }

    fn receive(&mut self) -> Result<Report, ReceiveError> {
        loop {
            let packet = self.spawner.receive()?;
            match serde_json::from_slice(packet.bytes) {
                Ok(report) => return Ok(report),
                Err(error) => tracing::error!(%error, "no report of the spawner"),
            }
        }
    }

    /// All of them, and the room for more.
    pub(crate) fn list(&self) -> Vgpus {
        Vgpus {
            vgpus: self.table.rows(),
            types: self.table.rooms(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Has one started. It is `starting` in the answer; [`service`](Self::service) tells how it went on.
    ///
    /// # Errors
    ///
    /// `unknown-vgpu-type`, `invalid-field`, `duplicate-vgpu`, `quota-exceeded`, `internal`.
    /// Nothing is created.
    pub(crate) fn create(&mut self, create: &CreateVgpu) -> Result<VgpuRow, WireError> {
        let uuid = self.table.admit(create, Uuid::new_v4())?;
        self.order(&Order::Create {
            uuid,
            vgpu_type: create.vgpu_type.clone(),
            vnc: create.vnc.clone(),
        })?;
        // Counted from now on, whenever the spawner gets to it.
        let row = VgpuRow {
            uuid: uuid.to_string(),
            vgpu_type: create.vgpu_type.clone(),
            socket: record::socket(&self.run_dir, uuid).display().to_string(),
            vnc: create.vnc.clone(),
            state: VgpuState::Starting,
            pid: None,
        };
        self.table.put(row.clone());
        Ok(row)
    }

    /// Has one asked to end, and be forgotten then. [`decided`](Self::decided) tells whether it does, and
    /// [`service`](Self::service) when it has.
    ///
    /// # Errors
    ///
    /// `unknown-vgpu`, `invalid-field`, `internal`.
    pub(crate) fn destroy(&mut self, destroy: &DestroyVgpu) -> Result<Ticket, WireError> {
        let uuid = self.table.find(&destroy.uuid)?;
        let ticket = Ticket(self.last_ticket.0 + 1);
        self.order(&Order::Destroy {
            uuid,
            ticket,
            force: destroy.force,
        })?;
        self.last_ticket = ticket;
        self.undecided.push(ticket);
        Ok(ticket)
    }

    /// What was decided since this was called last; refused with `busy` or `internal`, or it ends.
    pub(crate) fn decided(&mut self) -> Vec<(Ticket, Result<(), WireError>)> {
        std::mem::take(&mut self.decided)
    }

    /// Another budget. What is there stays.
    pub(crate) fn set_budget(&mut self, config: &Vgpu) {
        self.table.budget = budget(config);
    }

    fn order(&self, order: &Order) -> Result<(), WireError> {
        let refused = |text: &str| WireError::new(ErrorCode::Internal, text);
        let bytes = serde_json::to_vec(order).map_err(|_| refused("no order"))?;
        let sent = self.spawner.send(&bytes, &[]);
        sent.map_err(|_| refused("the spawner of vgpus takes no orders"))
    }
}

fn budget(config: &Vgpu) -> VgpuBudget {
    VgpuBudget {
        devices: config.max_devices,
        vram: u64::from(config.max_vram_mib) << 20,
    }
}

/// The run directory must be short enough for the sockets in it. It is made with the first vGPU.
fn check(run_dir: &Path) -> anyhow::Result<()> {
    let shown = run_dir.display();
    if run_dir.as_os_str().len() + SOCKET_NAME > SOCKET_PATH_LIMIT {
        bail!("vgpu.run_dir {shown} is too long for the sockets in it");
    }
    Ok(())
}
