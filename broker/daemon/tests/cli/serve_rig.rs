//! A daemon in a process of its own, and peers of it.

use std::io::BufRead;
use std::io::BufReader;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Child;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker_protocol::Client;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::Hello;
use irqbroker_protocol::InstructionId;
use irqbroker_protocol::LinkRow;
use irqbroker_protocol::Name;
use irqbroker_protocol::Notice;
use irqbroker_protocol::RegisterConsumer;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use irqbroker_protocol::Status;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Pid;
use rustix::process::Signal;

use crate::command::fresh_path;
use crate::command::irqbroker;

/// Longer than anything takes on a busy machine; only what is broken takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A running daemon; it ends with the story.
pub(crate) struct Daemon {
    process: Child,
    pub(crate) socket: String,
    settings: &'static [&'static str],
}

impl Daemon {
    /// Starts one on a socket of this name, and waits until it listens.
    pub(crate) fn start(name: &str) -> anyhow::Result<Self> {
        Self::start_with(name, &[])
    }

    /// The same, with settings of its own, `KEY=VALUE`.
    pub(crate) fn start_with(
        name: &str,
        settings: &'static [&'static str],
    ) -> anyhow::Result<Self> {
        let socket = fresh_path(name)?;
        let process = spawn(&socket, settings)?;
        Ok(Self {
            process,
            socket,
            settings,
        })
    }

    /// Starts one that may have so many files open.
    pub(crate) fn start_with_files(name: &str, files: usize) -> anyhow::Result<Self> {
        let socket = fresh_path(name)?;
        let mut command = std::process::Command::new("sh");
        let limited = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        command.args(["-c", &limited, env!("CARGO_BIN_EXE_irqbroker")]);
        let process = spawn_as(command, &socket, &[])?;
        Ok(Self {
            process,
            socket,
            settings: &[],
        })
    }

    /// Ends it without a chance to tidy up, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again on the same socket.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.process = spawn(&self.socket, self.settings)?;
        Ok(())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.process);
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Sends it a signal and waits for its end.
    pub(crate) fn end(&mut self, signal: Signal) -> anyhow::Result<Option<i32>> {
        self.signal(signal)?;
        Ok(self.process.wait()?.code())
    }

    /// A connection with every scope.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        self.client_as(&Scope::ALL)
    }

    /// A connection with these scopes.
    pub(crate) fn client_as(&self, scopes: &[Scope]) -> anyhow::Result<Client> {
        let hello = Hello::new("story", scopes);
        Ok(Client::connect(Path::new(&self.socket), &hello)?)
    }

    /// How it stands.
    pub(crate) fn status(&self) -> anyhow::Result<Status> {
        Ok(self.client_as(&[Scope::ReadOnly])?.ask(&Request::Status)?)
    }

    /// A number from `/proc/PID/status`.
    pub(crate) fn proc_status(&self, key: &str) -> anyhow::Result<u64> {
        self.proc_number("status", key)
    }

    /// A number from a file of its in `/proc`.
    pub(crate) fn proc_number(&self, file: &str, key: &str) -> anyhow::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let line = line.with_context(|| format!("no {key}"))?;
        let number = line.trim_start_matches(':').split_whitespace().next();
        Ok(number.context("no number")?.parse()?)
    }

    /// Leaves it no number for another fd.
    pub(crate) fn limit_fds(&self) -> anyhow::Result<()> {
        let mut open = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/{}/fd", self.process.id()))? {
            let number: u64 = entry?.file_name().to_string_lossy().parse()?;
            open.push(number);
        }
        let free = (0..).find(|number| !open.contains(number));
        let pid = Pid::from_child(&self.process);
        let nofile = rustix::process::Resource::Nofile;
        let limit = rustix::process::Rlimit {
            current: free,
            ..rustix::process::getrlimit(nofile)
        };
        rustix::process::prlimit(Some(pid), nofile, limit)?;
        Ok(())
    }

    /// Fds it has open.
    pub(crate) fn open_fds(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.process.id()))?.count())
    }

    /// Times it went to sleep so far.
    pub(crate) fn sleeps(&self) -> anyhow::Result<u64> {
        self.proc_status("voluntary_ctxt_switches")
    }

    /// The rows of all links once `enough` holds for them.
    pub(crate) fn links_once(
        &self,
        enough: impl Fn(&[LinkRow]) -> bool,
    ) -> anyhow::Result<Vec<LinkRow>> {
        let mut client = self.client_as(&[Scope::ReadOnly])?;
        let until = Instant::now() + PATIENCE;
        loop {
            let rows = client.links()?;
            if enough(&rows) {
                return Ok(rows);
            }
            ensure!(Instant::now() < until, "{rows:#?}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already; then there is nobody to kill.
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

fn spawn(socket: &str, settings: &[&str]) -> anyhow::Result<Child> {
    spawn_as(irqbroker(), socket, settings)
}

fn spawn_as(
    mut command: std::process::Command,
    socket: &str,
    settings: &[&str],
) -> anyhow::Result<Child> {
    let mut process = command
        .args(["serve", "--json", "--socket", socket])
        // What is hosted outlives the daemon, and has stories of its own.
        .args(["--set", "vgpu.max_devices=0"])
        // A system call that is not listed ends the daemon and so fails the story.
        .args(["--set", "sandbox.on_violation=kill"])
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = process.stdout.take().context("no stdout")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if !line.contains("socket") {
        let status = process.wait()?;
        bail!("the daemon did not start: {status}");
    }
    Ok(process)
}

/// An eventfd.
pub(crate) fn eventfd() -> anyhow::Result<OwnedFd> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    Ok(rustix::event::eventfd(0, flags)?)
}

/// Adds to an eventfd.
pub(crate) fn signal(event: &OwnedFd) -> anyhow::Result<()> {
    rustix::io::write(event, &1u64.to_ne_bytes())?;
    Ok(())
}

/// What stands in an eventfd, taken.
pub(crate) fn taken(event: &OwnedFd) -> u64 {
    let mut count = [0u8; 8];
    match rustix::io::read(event, &mut count) {
        Ok(8) => u64::from_ne_bytes(count),
        _ => 0,
    }
}

/// Waits until something stands in an eventfd, and takes it.
pub(crate) fn wait_taken(event: &OwnedFd) -> anyhow::Result<u64> {
    let mut fds = [PollFd::new(event, PollFlags::IN)];
    let limit = Timespec::try_from(PATIENCE)?;
    ensure!(rustix::event::poll(&mut fds, Some(&limit))? == 1, "lost");
    Ok(taken(event))
}

/// A name.
pub(crate) fn name(text: &str) -> anyhow::Result<Name> {
    Ok(Name::new(text)?)
}

/// A producer of a link.
pub(crate) fn producer(link: &str) -> anyhow::Result<RegisterProducer> {
    Ok(RegisterProducer {
        link: Some(name(link)?),
        ..RegisterProducer::edge(name(&format!("{link}.producer"))?)
    })
}

/// A consumer of a link.
pub(crate) fn consumer(link: &str, takes: ConsumerTakes) -> anyhow::Result<RegisterConsumer> {
    Ok(RegisterConsumer {
        link: Some(name(link)?),
        takes,
        ..RegisterConsumer::reading(name(&format!("{link}.consumer"))?)
    })
}

/// Asks something with fds, and forgets the answer.
pub(crate) fn ask(client: &mut Client, request: &Request, fds: &[&OwnedFd]) -> anyhow::Result<()> {
    let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    client.request::<serde_json::Value>(request, &fds)?;
    Ok(())
}

/// Asks something that has to be refused.
pub(crate) fn refused(
    client: &mut Client,
    request: &Request,
    fds: &[&OwnedFd],
) -> anyhow::Result<ErrorCode> {
    let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    match client.request::<serde_json::Value>(request, &fds) {
        Ok(reply) => bail!("{} was not refused: {:?}", request.kind(), reply.body),
        Err(error) => {
            let refusal = error.refusal().with_context(|| format!("{error:?}"))?;
            Ok(refusal.code)
        }
    }
}

/// A size from the environment.
pub(crate) fn from_environment(key: &str, default: u64) -> anyhow::Result<u64> {
    match std::env::var(key) {
        Ok(text) => text.parse().with_context(|| key.to_owned()),
        Err(_) => Ok(default),
    }
}

/// Waits until a consumer's client is told to attach.
pub(crate) fn attach_notice(client: &mut Client) -> anyhow::Result<InstructionId> {
    loop {
        let (notice, _) = client.notice(Some(PATIENCE))?.context("no notice")?;
        if let Notice::Attach(attach) = notice {
            return Ok(attach.instruction);
        }
    }
}
