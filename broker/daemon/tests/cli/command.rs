//! Runs the command and keeps what came of it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use anyhow::ensure;
use serde_json::Value;

/// The user that owns nothing, by Linux's convention (`fs.overflowuid`).
pub(crate) const NOBODY: u32 = 65_534;

/// What came of one run.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The exit code; none where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `irqbroker` with these arguments.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<Answer> {
    answer(irqbroker().args(arguments))
}

/// Runs `irqbroker` as a user that file modes hold for: this one, or nobody if this is root.
pub(crate) fn unprivileged(arguments: &[&str]) -> anyhow::Result<Answer> {
    let mut command = irqbroker();
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    answer(command.args(arguments))
}

/// A path in the build's directory, with nothing there: what an earlier run left is removed.
pub(crate) fn fresh_path(name: &str) -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let path = path
        .to_str()
        .context("the build's directory is not UTF-8")?;
    Ok(path.to_owned())
}

/// The command, without arguments.
pub(crate) fn irqbroker() -> Command {
    Command::new(env!("CARGO_BIN_EXE_irqbroker"))
}

fn answer(command: &mut Command) -> anyhow::Result<Answer> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    Ok(Answer {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

impl Answer {
    /// The report of a run that succeeded: one line of JSON on stdout, and nothing else anywhere.
    pub(crate) fn report(&self) -> anyhow::Result<Value> {
        ensure!(self.code == Some(0), "{self:?}");
        ensure!(self.stderr.is_empty(), "{self:?}");
        let line = self.stdout.strip_suffix('\n').context("no line")?;
        ensure!(!line.contains('\n'), "more than one line: {self:?}");
        serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))
    }

    /// The line on stderr of a run that failed without a report.
    pub(crate) fn refusal(&self) -> anyhow::Result<&str> {
        ensure!(self.code == Some(1), "{self:?}");
        ensure!(self.stdout.is_empty(), "{self:?}");
        let line = self.stderr.strip_suffix('\n').context("no line")?;
        ensure!(!line.contains('\n'), "more than one line: {self:?}");
        line.strip_prefix("irqbroker: ")
            .with_context(|| format!("not the command's own line: {line}"))
    }
}
