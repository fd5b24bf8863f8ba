//! A daemon of a story's own: its folder, its configuration, its process.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_protocol::Client;
use irqbroker_protocol::Hello;
use irqbroker_protocol::Name;
use irqbroker_protocol::RegisterConsumer;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Registered;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;
use serde_json::Value;

use crate::command::Answer;
use crate::command::irqbroker;
use crate::command::run;

/// Longer than anything takes, on a machine that keeps every process from running for seconds too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon, killed with this.
pub(crate) struct Daemon {
    pub(crate) folder: tempfile::TempDir,
    process: Child,
    /// What it told of itself.
    pub(crate) told: Value,
}

/// The strictest there is: a system call that is not listed ends the daemon and so fails the story.
pub(crate) const STRICT: &str = "[sandbox]\non_violation = \"kill\"\n";

impl Daemon {
    /// A daemon with this configuration besides its paths.
    pub(crate) fn start(config: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let daemon = Self::prepare(folder, config)?;
        Self::launch(daemon)
    }

    /// Writes the configuration.
    pub(crate) fn prepare(
        folder: tempfile::TempDir,
        config: &str,
    ) -> anyhow::Result<tempfile::TempDir> {
        let paths = |name| folder.path().join(name).display().to_string();
        let (socket, vgpus) = (paths("control.sock"), paths("vgpu"));
        let text = format!("control.socket = {socket:?}\nvgpu.run_dir = {vgpus:?}\n{config}");
        fs::write(folder.path().join("irqbroker.toml"), text)?;
        Ok(folder)
    }

    /// Starts it in a prepared folder.
    pub(crate) fn launch(folder: tempfile::TempDir) -> anyhow::Result<Self> {
        let mut command = serve(folder.path());
        let (process, told) = started(&mut command)?;
        Ok(Self {
            folder,
            process,
            told,
        })
    }

    /// The same with a command of the story's own making.
    pub(crate) fn launch_with(
        folder: tempfile::TempDir,
        mut command: Command,
    ) -> anyhow::Result<Self> {
        let (process, told) = started(&mut command)?;
        Ok(Self {
            folder,
            process,
            told,
        })
    }

    /// Another configuration, in place of the old one as editors do it.
    pub(crate) fn rewrite(&self, config: &str) -> anyhow::Result<()> {
        let fresh = Self::prepare(tempfile::tempdir()?, config)?;
        let text = fs::read_to_string(fresh.path().join("irqbroker.toml"))?;
        let text = text.replace(
            &fresh.path().display().to_string(),
            &self.folder.path().display().to_string(),
        );
        let unfinished = self.folder.path().join("irqbroker.toml.new");
        fs::write(&unfinished, text)?;
        fs::rename(unfinished, self.path("irqbroker.toml"))?;
        Ok(())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn socket(&self) -> String {
        self.path("control.sock").display().to_string()
    }

    /// Runs a command of an operator's.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<Answer> {
        let socket = self.socket();
        run(&[arguments, &["--control", &socket]].concat())
    }

    /// The report of such a command.
    pub(crate) fn report(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        self.run(&[arguments, &["--json"]].concat())?.report()
    }

    /// Asks until the report is as wanted.
    pub(crate) fn until(
        &self,
        arguments: &[&str],
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let begun = Instant::now();
        loop {
            let report = self.report(arguments)?;
            if wanted(&report) {
                return Ok(report);
            }
            ensure!(begun.elapsed() < PATIENCE, "still {report}");
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.process.id())?;
        let pid = Pid::from_raw(pid).context("no pid")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Waits until it has stopped, as it was told by a signal.
    pub(crate) fn until_stopped(&self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.process.id())?;
        let pid = WaitId::Pid(Pid::from_raw(pid).context("no pid")?);
        // Left as it is: nobody else waits for a stop.
        rustix::process::waitid(pid, WaitIdOptions::STOPPED)?;
        Ok(())
    }

    /// Kills it, and starts another in the same place.
    pub(crate) fn kill_and_restart(mut self) -> anyhow::Result<Self> {
        self.process.kill()?;
        self.process.wait()?;
        let (process, told) = started(&mut serve(self.folder.path()))?;
        // The old one has been reaped.
        self.process = process;
        self.told = told;
        Ok(self)
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.process.wait()?)
    }

    /// The same, and all it has logged where its standard error is a pipe.
    pub(crate) fn end(&mut self) -> anyhow::Result<String> {
        let mut log = String::new();
        if let Some(mut stderr) = self.process.stderr.take() {
            stderr.read_to_string(&mut log)?;
        }
        self.wait()?;
        Ok(log)
    }

    pub(crate) fn connect(&self, scopes: &[Scope]) -> anyhow::Result<Client> {
        let hello = Hello::new("story", scopes);
        Ok(Client::connect(&self.path("control.sock"), &hello)?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // What it hosts outlives it, and the story does not: the records name the processes.
        let vgpus = fs::read_dir(self.path("vgpu"))
            .into_iter()
            .flatten()
            .flatten();
        let records = vgpus.filter_map(|entry| fs::read(entry.path()).ok());
        for record in records.filter_map(|text| serde_json::from_slice::<Value>(&text).ok()) {
            let pid = record["process"]["pid"].as_i64();
            if let Some(pid) = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
                let _gone = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        // It may have ended already; then there is nobody to kill.
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

/// `irqbroker serve` with the configuration of a folder.
pub(crate) fn serve(folder: &Path) -> Command {
    let mut command = irqbroker();
    let config = folder.join("irqbroker.toml");
    command.args(["serve", "--json", "--config"]).arg(config);
    command
}

/// Starts a daemon and waits until it tells that it serves.
fn started(command: &mut Command) -> anyhow::Result<(Child, Value)> {
    let mut process = command.stdout(Stdio::piped()).spawn()?;
    let stdout = process.stdout.take().context("no stdout")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let told = serde_json::from_str(&line);
    if told.is_err() {
        let _gone = process.kill();
        let _status = process.wait();
    }
    Ok((process, told.with_context(|| format!("told: {line}"))?))
}

/// A producer and a consumer that reads its own eventfd, paired by the name of their link.
pub(crate) struct Pair {
    pub(crate) producer: OwnedFd,
    pub(crate) consumer: OwnedFd,
    _sessions: [Client; 2],
}

impl Pair {
    pub(crate) fn register(daemon: &Daemon, link: &str) -> anyhow::Result<Self> {
        let name = |side: &str| Name::new(&format!("{link}.{side}"));
        let (producer, consumer) = (event()?, event()?);
        let mut device = daemon.connect(&[Scope::Producer])?;
        let request = RegisterProducer {
            link: Some(Name::new(link)?),
            ..RegisterProducer::edge(name("device")?)
        };
        let fds = [producer.as_fd()];
        device.request::<Registered>(&Request::RegisterProducer(request), &fds)?;
        let mut vmm = daemon.connect(&[Scope::Consumer])?;
        let request = RegisterConsumer {
            link: Some(Name::new(link)?),
            ..RegisterConsumer::reading(name("guest")?)
        };
        let fds = [consumer.as_fd()];
        vmm.request::<Registered>(&Request::RegisterConsumer(request), &fds)?;
        Ok(Self {
            producer,
            consumer,
            _sessions: [device, vmm],
        })
    }

    /// Raises the interrupt and waits until it has come.
    pub(crate) fn deliver(&self) -> anyhow::Result<()> {
        rustix::io::write(&self.producer, &1u64.to_ne_bytes())?;
        let mut fds = [PollFd::new(&self.consumer, PollFlags::IN)];
        let came = rustix::event::poll(&mut fds, Some(&Timespec::try_from(PATIENCE)?))?;
        ensure!(came == 1, "the interrupt does not come");
        let mut count = [0; 8];
        rustix::io::read(&self.consumer, &mut count)?;
        ensure!(u64::from_ne_bytes(count) == 1, "{count:?}");
        Ok(())
    }
}

fn event() -> anyhow::Result<OwnedFd> {
    Ok(rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?)
}
