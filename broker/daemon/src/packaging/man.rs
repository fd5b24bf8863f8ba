//! `irqbroker man`: the page of the command, or a folder with those of all commands.

use std::fmt;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::output::Output;

/// Options of `irqbroker man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this folder, rather than that of irqbroker to stdout
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The report of `irqbroker man`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Pages {
    Written { files: Vec<String> },
    Page { page: String },
}

/// Prints or writes the pages of `command`.
///
/// # Errors
///
/// A file cannot be written, or the page not be printed.
pub(crate) fn run(args: &ManArgs, command: clap::Command, output: &Output) -> anyhow::Result<()> {
    let Some(folder) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        let page = String::from_utf8(page)?;
        return output.print(&Pages::Page { page });
    };
    let cannot = || format!("cannot write pages into {}", folder.display());
    clap_mangen::generate_to(command, folder).with_context(cannot)?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("irqbroker") && name.ends_with(".1") {
            files.push(name);
        }
    }
    files.sort();
    output.print(&Pages::Written { files })
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page { page } => f.write_str(page),
            Self::Written { files } => files.iter().try_for_each(|file| writeln!(f, "{file}")),
        }
    }
}
