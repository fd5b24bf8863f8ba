//! The kernel's own probes: what irqbypass was called with, as the trace buffer has it.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;

const TRACEFS: &str = "/sys/kernel/tracing";
/// The group of our probes.
const GROUP: &str = "irqbroker";

/// A probe at a kernel function's entry: its name, and what it shows of the arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    name: &'static str,
    function: &'static str,
    arguments: &'static str,
}

/// Probes that are on; dropping takes them away.
#[derive(Debug)]
pub(crate) struct Probes;

/// One hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The probe's name.
    pub(crate) probe: String,
    /// What it showed, each as `name=value`.
    pub(crate) arguments: Vec<(String, String)>,
    /// The line as the kernel printed it.
    pub(crate) line: String,
}

impl Probe {
    /// A probe called `name`; `arguments` are as in the kernel's `trace/kprobetrace.rst`.
    pub(crate) const fn new(
        name: &'static str,
        function: &'static str,
        arguments: &'static str,
    ) -> Self {
        Self {
            name,
            function,
            arguments,
        }
    }
}

impl Probes {
    /// Switches probes on, and empties the trace buffer.
    pub(crate) fn on(probes: &[Probe]) -> anyhow::Result<Self> {
        let on = Self;
        for probe in probes {
            let Probe {
                name,
                function,
                arguments,
            } = probe;
            append(
                "kprobe_events",
                &format!("p:{GROUP}/{name} {function} {arguments}\n"),
            )?;
        }
        write("trace", "\n")?;
        write(&format!("events/{GROUP}/enable"), "1")?;
        Ok(on)
    }

    /// Everything hit since the last call, oldest first.
    pub(crate) fn take(&self) -> anyhow::Result<Vec<Hit>> {
        let text = fs::read_to_string(path("trace"))?;
        write("trace", "\n")?;
        Ok(text.lines().filter_map(parse).collect())
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        // Probes left on would only slow the next story down.
        let _off = write(&format!("events/{GROUP}/enable"), "0");
        let _gone = write("kprobe_events", "\n");
    }
}

impl Hit {
    /// The value of an argument.
    pub(crate) fn argument(&self, name: &str) -> Option<&str> {
        let found = self.arguments.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// `task-pid [cpu] flags time: probe: (function+0x0/0x...) name=value ...`
fn parse(line: &str) -> Option<Hit> {
    if line.starts_with('#') {
        return None;
    }
    let (head, shown) = line.split_once(": (")?;
    let (_, probe) = head.rsplit_once(' ')?;
    let (_, arguments) = shown.split_once(')')?;
    let pairs = arguments.split_whitespace();
    Some(Hit {
        probe: probe.to_owned(),
        arguments: pairs
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        line: line.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}

fn path(file: &str) -> PathBuf {
    Path::new(TRACEFS).join(file)
}

fn write(file: &str, text: &str) -> anyhow::Result<()> {
    fs::write(path(file), text).with_context(|| format!("cannot write {text:?} to {file}"))
}

fn append(file: &str, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut opened = fs::OpenOptions::new().append(true).open(path(file))?;
    opened
        .write_all(text.as_bytes())
        .with_context(|| format!("cannot add {:?} to {file}", text.trim()))
}
