//! `irqbroker status`: how the daemon stands.

use std::fmt;
use std::time::Duration;

use clap::Args;
use irqbroker_protocol::Request;
use irqbroker_protocol::Status;
use serde::Serialize;

use super::connect::ControlArgs;
use super::connect::ask;
use super::printable;
use crate::output::Output;

/// Options of `irqbroker status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    control: ControlArgs,
}

/// The report of `irqbroker status`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct StatusReport(Status);

/// Asks and prints.
///
/// # Errors
///
/// No daemon answers, or it refuses.
pub(crate) fn run(args: &StatusArgs, output: &Output) -> anyhow::Result<()> {
    let status = ask(&mut args.control.look()?, &Request::Status)?;
    output.print(&StatusReport(status))
}

impl fmt::Display for StatusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = &self.0;
        let links = status.links;
        let up = Duration::from_secs(status.uptime_ms / 1000);
        writeln!(f, "{}, pid {}, up {up:?}", status.daemon, status.pid)?;
        writeln!(
            f,
            "links      {} bypass, {} posted, {} relay, {} masked, {} unmatched",
            links.bypass, links.posted, links.relay, links.masked, links.unmatched
        )?;
        writeln!(
            f,
            "sides      {} producers, {} consumers, {} of them lingering",
            status.producers, status.consumers, status.lingering
        )?;
        writeln!(
            f,
            "peers      {} connections, {} fds held",
            status.connections, status.fds
        )?;
        writeln!(
            f,
            "work       {} relayed, {} recovered, {} wake-ups",
            status.relayed, status.recovered, status.wakeups
        )?;
        writeln!(
            f,
            "requests   {} done, {} refused",
            status.requests, status.refused
        )?;
        writeln!(f, "vgpus      {}", status.vgpus)?;
        if let Some(sandbox) = &status.sandbox {
            writeln!(f, "sandbox    {sandbox}")?;
        }
        match &status.reload {
            Some(reload) => writeln!(f, "reload     {}", printable(reload)),
            None => Ok(()),
        }
    }
}
