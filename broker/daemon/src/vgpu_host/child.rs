//! A host as the spawner holds it: started by it, or found by its record.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Instant;

use irqbroker_protocol::VgpuRow;
use irqbroker_protocol::VgpuState;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::Signal;
use uuid::Uuid;

use super::hosted::Failure;
use super::hosted::HostedArgs;
use super::record;
use super::record::Record;

/// A host process.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) row: VgpuRow,
    /// Readable once the process has ended; the process cannot be mistaken for another. None where it
    /// had ended before it was looked at.
    process: Option<OwnedFd>,
    /// To reap it; none where another spawner started it.
    child: Option<Child>,
    /// Something comes once it serves.
    ready: Option<OwnedFd>,
    /// It was told to end, or ended before it served.
    pub(super) destroyed: bool,
    /// When it is killed, should it not have ended by itself as it said.
    pub(super) kill_at: Option<Instant>,
    /// Why it does not serve.
    pub(super) failure: Option<String>,
}

impl Host {
    /// The host a record speaks of.
    pub(super) fn adopt(record: &Record, run_dir: &Path) -> Self {
        let process = record.process.find();
        let state = match process {
            Some(_) => VgpuState::Running,
            None => VgpuState::Stopped,
        };
        Self {
            row: record.row(run_dir, state),
            process,
            child: None,
            ready: None,
            destroyed: false,
            kill_at: None,
            failure: None,
        }
    }

    /// Starts one.
    pub(super) fn start(
        run_dir: &Path,
        uuid: Uuid,
        vgpu_type: &str,
        vnc: Option<&str>,
    ) -> io::Result<Self> {
        record::make_run_dir(run_dir)?;
        let socket = record::socket(run_dir, uuid);
        // Not the path it was started by: after an upgrade that is another program.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("irqbroker")
            .args(["vgpu", "serve", "--json", "--type", vgpu_type, "--socket"])
            .arg(&socket)
            .arg(format!("--socket-mode={:04o}", record::socket_mode()))
            .args(vnc.map(|vnc| format!("--vnc={vnc}")))
            .args(HostedArgs::arguments(&record::file(run_dir, uuid), uuid))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let ready = child.stdout.take().map(OwnedFd::from);
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let process = pid.ok_or(io::ErrorKind::InvalidData.into());
        let process: io::Result<OwnedFd> =
            process.and_then(|pid| Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?));
        let row = VgpuRow {
            uuid: uuid.to_string(),
            vgpu_type: vgpu_type.to_owned(),
            socket: socket.display().to_string(),
            vnc: vnc.map(str::to_owned),
            state: VgpuState::Starting,
            pid: Some(child.id()),
        };
        match process {
            Ok(process) => Ok(Self {
                row,
                process: Some(process),
                child: Some(child),
                ready,
                destroyed: false,
                kill_at: None,
                failure: None,
            }),
            Err(error) => {
                // Out of fds: nobody would hear of its end.
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// What to wait for, each readable: that it has ended, that it serves.
    pub(super) fn waits(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.process.iter().chain(&self.ready).map(AsFd::as_fd)
    }

    /// Looks whether something came of it; whether its row is another now. One that ended before it served
    /// is to be forgotten: nobody could use it.
    pub(super) fn look(&mut self) -> bool {
        let before = self.row.state;
        // Looked at first: whatever it had to say it has said by then.
        let ended = self.process.as_ref().is_some_and(is_readable);
        match self.ready.as_ref().and_then(said) {
            Some(Word::Serves) => {
                self.ready = None;
                self.row.state = VgpuState::Running;
            }
            Some(Word::Failed(why)) => {
                self.ready = None;
                self.failure = Some(why);
            }
            None => {}
        }
        if ended {
            self.process = None;
            self.ready = None;
            if self.row.state == VgpuState::Starting {
                self.destroyed = true;
                let unknown = || "its process ended without a word".to_owned();
                self.failure.get_or_insert_with(unknown);
            }
            self.row.state = VgpuState::Stopped;
            self.row.pid = None;
            if let Some(mut child) = self.child.take() {
                // It has ended: this reaps it and does not wait.
                let _status = child.wait();
            }
        }
        self.row.state != before
    }

    /// Whether the process lives.
    pub(super) fn lives(&self) -> bool {
        self.process.is_some()
    }

    /// Ends it, as was decided. There is nothing for it to put away: its files are the spawner's.
    pub(super) fn destroy(&mut self) {
        self.destroyed = true;
        self.kill();
    }

    /// Has it end by itself, as it said, or be killed then.
    pub(super) fn destroy_by(&mut self, limit: Instant) {
        self.destroyed = true;
        // Whoever asks again does not put its end off.
        self.kill_at.get_or_insert(limit);
    }

    /// Kills it if it has not ended by itself in time.
    pub(super) fn kill_if_late(&mut self, now: Instant) {
        if self.kill_at.is_some_and(|limit| now >= limit) {
            self.kill_at = None;
            self.kill();
        }
    }

    fn kill(&self) {
        if let Some(process) = &self.process {
            // It may have ended meanwhile, which is what is wanted.
            let _ended = rustix::process::pidfd_send_signal(process, Signal::KILL);
        }
    }
}

/// What the server says of itself, on one line.
enum Word {
    Serves,
    Failed(String),
}

/// Bytes read of that line: more than a failure's. A report may be longer, and is not looked at.
const LINE_LIMIT: usize = 4096;

/// The server's word; an end without one is none.
fn said(ready: &OwnedFd) -> Option<Word> {
    let mut line = [0; LINE_LIMIT];
    let read = match is_readable(ready) {
        true => rustix::io::read(ready, &mut line)
            .ok()
            .filter(|&read| read > 0)?,
        false => return None,
    };
    Some(match serde_json::from_slice(&line[..read]) {
        Ok(Failure { failed }) => Word::Failed(failed),
        Err(_) => Word::Serves,
    })
}

fn is_readable(fd: &OwnedFd) -> bool {
    let mut fds = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec::default();
    rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}
