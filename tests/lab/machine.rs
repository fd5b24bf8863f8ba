//! The machine that `tests/lab/run` boots, as the stories see it.

use std::ffi::OsString;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use rustix::thread::CpuSet;

/// For whatever is sure to come. The emulated processors have what a busy machine leaves them, and may get
/// nothing for seconds: only what never comes takes as long as this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The character device that takes the results; unset outside the lab.
const RESULTS: &str = "IRQBROKER_LAB";
/// The character device whose other end is `answer_questions` of `lib/vgpu.sh`.
const HOST: &str = "IRQBROKER_LAB_HOST";
/// Names of the stories to run, between blanks.
const STORIES: &str = "IRQBROKER_LAB_STORIES";
const RELEASE: &str = "/proc/sys/kernel/osrelease";

/// The lab's machine, from the inside.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    results: PathBuf,
    release: String,
}

impl Machine {
    /// This machine, if it is the lab's.
    pub(crate) fn this() -> Option<Self> {
        let results: OsString = std::env::var_os(RESULTS)?;
        let release = std::fs::read_to_string(RELEASE).unwrap_or_default();
        Some(Self {
            results: results.into(),
            release: release.trim().to_owned(),
        })
    }

    /// The stories it is to run.
    pub(crate) fn stories() -> Vec<String> {
        let names = std::env::var(STORIES).unwrap_or_default();
        names.split_whitespace().map(str::to_owned).collect()
    }

    /// The kernel's release, as `uname -r` says it.
    pub(crate) fn release(&self) -> &str {
        &self.release
    }

    /// Asks whoever booted the machine, and waits for the answer: one line each.
    pub(crate) fn ask(question: &str) -> anyhow::Result<String> {
        let host = std::env::var_os(HOST).context("nobody to ask")?;
        let mut host = File::options()
            .read(true)
            .write(true)
            .open(&host)
            .with_context(|| format!("cannot open {}", host.display()))?;
        host.write_all(format!("{question}\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(host).read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }

    /// Returns once whatever a device outside signalled before has interrupted this machine.
    ///
    /// QEMU's main loop takes both the eventfds of devices and the answers. One that comes may be taken just
    /// before an eventfd that was ready for longer, but not so the second.
    pub(crate) fn catch_up() -> anyhow::Result<()> {
        for _ in 0..2 {
            Self::ask("nothing")?;
        }
        visit_processors()
    }

    /// Hands one line to whoever booted the machine.
    pub(crate) fn report(&self, line: &str) -> anyhow::Result<()> {
        let channel = || format!("cannot write to {}", self.results.display());
        let mut results = File::options()
            .write(true)
            .open(&self.results)
            .with_context(channel)?;
        // One write: a kernel message in between would go to the console, not here.
        results
            .write_all(format!("{line}\n").as_bytes())
            .with_context(channel)
    }
}

/// Runs on each processor for a moment: an interrupt that one of them had before has been handled then, its
/// eventfd is signalled, and what hangs on that is done.
pub(crate) fn visit_processors() -> anyhow::Result<()> {
    let all = rustix::thread::sched_getaffinity(None)?;
    for processor in (0..CpuSet::MAX_CPU).filter(|&processor| all.is_set(processor)) {
        let mut one = CpuSet::new();
        one.set(processor);
        rustix::thread::sched_setaffinity(None, &one)?;
    }
    Ok(rustix::thread::sched_setaffinity(None, &all)?)
}
