//! `irqbroker set-path LINK auto|relay`: which ways a link's interrupts may take.

use std::fmt;

use clap::Args;
use clap::ValueEnum;
use irqbroker_protocol::Done;
use irqbroker_protocol::Explain;
use irqbroker_protocol::Explanation;
use irqbroker_protocol::LinkRow;
use irqbroker_protocol::PathPolicy;
use irqbroker_protocol::Request;
use irqbroker_protocol::SetPath;
use serde::Serialize;

use super::connect::ControlArgs;
use super::connect::ask;
use super::printable;
use crate::output::Output;

/// Options of `irqbroker set-path`.
#[derive(Debug, Args)]
pub(crate) struct SetPathArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Its id as `irqbroker links` shows it, its name, or the name of its producer or consumer
    #[arg(value_name = "LINK")]
    link: String,
    /// What its interrupts may take
    #[arg(value_name = "PATH")]
    path: Path,
}

/// What is allowed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Path {
    /// The best there is
    Auto,
    /// Nothing but the daemon's relay
    Relay,
}

/// The report of `irqbroker set-path`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct SetPathReport(LinkRow);

/// Asks, and prints how the link stands then. It may be on its way: `irqbroker watch` shows the rest.
///
/// # Errors
///
/// No daemon answers, this user may not, or there is no such link.
pub(crate) fn run(args: &SetPathArgs, output: &Output) -> anyhow::Result<()> {
    let mut client = args.control.operate()?;
    let link = args.link.clone();
    let path = PathPolicy::from(args.path);
    let Done {} = ask(&mut client, &Request::SetPath(SetPath { link, path }))?;
    let link = args.link.clone();
    let Explanation { row, .. } = ask(&mut client, &Request::Explain(Explain { link }))?;
    output.print(&SetPathReport(row))
}

impl From<Path> for PathPolicy {
    fn from(path: Path) -> Self {
        match path {
            Path::Auto => Self::Auto,
            Path::Relay => Self::Relay,
        }
    }
}

impl fmt::Display for SetPathReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = &self.0;
        let path = match row.path {
            PathPolicy::Auto => "auto",
            PathPolicy::Relay => "relay",
            PathPolicy::Other => "other",
        };
        let reason = printable(&row.reason);
        writeln!(f, "link {}: path {path}; {}: {reason}", row.id, row.state)
    }
}
