//! What a story needs of the machine, and how it is reported where that is missing.

use std::fmt;

use anyhow::Context;
use libtest_mimic::Failed;
use libtest_mimic::Trial;

use crate::command;

/// Something a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing beyond Linux and /proc.
    Nothing,
    /// A /dev/kvm that opens.
    Kvm,
    /// A user that file modes hold for, and who may run the command.
    Unprivileged,
    /// Root, who can be another user for a while.
    SecondUser,
    /// The checker of unit files.
    SystemdAnalyze,
    /// Asynchronous I/O that others have not used up, and a count of reads and writes.
    Aio,
}

impl Need {
    /// Why it is missing, if it is.
    fn missing(self) -> Option<String> {
        let found = match self {
            Self::Nothing => Ok(()),
            Self::Kvm => std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/kvm")
                .map(drop)
                .context("/dev/kvm"),
            Self::SecondUser => match rustix::process::geteuid().is_root() {
                true => Ok(()),
                false => Err(anyhow::anyhow!("not root")),
            },
            Self::SystemdAnalyze => std::process::Command::new("systemd-analyze")
                .arg("--version")
                .output()
                .map(drop)
                .context("systemd-analyze"),
            Self::Aio => aio(),
            Self::Unprivileged => command::unprivileged(&["--version"]).map(drop),
        };
        found.err().map(|error| format!("{error:#}"))
    }

    fn required(self) -> bool {
        std::env::var("IRQBROKER_REQUIRE")
            .is_ok_and(|list| list.split(',').any(|name| name == self.to_string()))
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Kvm => "kvm",
            Self::SecondUser => "second-user",
            Self::Unprivileged => "unprivileged",
            Self::SystemdAnalyze => "systemd-analyze",
            Self::Aio => "aio",
        })
    }
}

fn aio() -> anyhow::Result<()> {
    std::fs::read_to_string("/proc/self/io").context("/proc/self/io")?;
    let number = |name: &str| -> anyhow::Result<u64> {
        let path = format!("/proc/sys/fs/{name}");
        let text = std::fs::read_to_string(&path).context(path)?;
        Ok(text.trim().parse()?)
    };
    // As many as the daemon takes.
    let left = number("aio-max-nr")?.saturating_sub(number("aio-nr")?);
    anyhow::ensure!(left >= 64, "fs.aio-max-nr leaves {left}");
    Ok(())
}

/// A story of the given name; an error or a panic fails it.
pub(crate) fn story(name: &str, need: Need, body: fn() -> anyhow::Result<()>) -> Trial {
    let failed = |error: anyhow::Error| Failed::from(format!("{error:#}"));
    match need.missing() {
        None => Trial::test(name, move || body().map_err(failed)),
        Some(why) => {
            let ignored = !need.required();
            let name = format!("{name} [{why}]");
            // Run all the same, by --include-ignored or because it is required, it fails.
            Trial::test(name, move || Err(format!("needs {need}: {why}").into()))
                .with_ignored_flag(ignored)
        }
    }
}
