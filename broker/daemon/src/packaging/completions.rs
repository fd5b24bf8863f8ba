//! `irqbroker completions SHELL`.

use std::fmt;

use clap::Args;
use clap_complete::Shell;
use serde::Serialize;

use crate::output::Output;

/// Options of `irqbroker completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Whose
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// The report of `irqbroker completions`.
#[derive(Debug, Serialize)]
struct Script {
    shell: String,
    script: String,
}

/// Prints the script that `command` is completed by.
///
/// # Errors
///
/// It could not be printed.
pub(crate) fn run(
    args: &CompletionsArgs,
    mut command: clap::Command,
    output: &Output,
) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "irqbroker", &mut script);
    output.print(&Script {
        shell: args.shell.to_string(),
        script: String::from_utf8(script)?,
    })
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.script)
    }
}
