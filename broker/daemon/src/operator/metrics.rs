//! `irqbroker metrics`: the daemon's figures as OpenMetrics, without a scraper.

use std::fmt;

use clap::Args;
use irqbroker_protocol::Request;
use serde::Serialize;

use super::connect::ControlArgs;
use super::connect::ask;
use super::connect::told;
use crate::metrics::encode;
use crate::output::Output;

/// Options of `irqbroker metrics`.
#[derive(Debug, Args)]
pub(crate) struct MetricsArgs {
    #[command(flatten)]
    control: ControlArgs,
}

/// The report of `irqbroker metrics`.
#[derive(Debug, Serialize)]
struct MetricsReport {
    openmetrics: String,
}

/// Asks and prints.
///
/// # Errors
///
/// No daemon answers, or it refuses.
pub(crate) fn run(args: &MetricsArgs, output: &Output) -> anyhow::Result<()> {
    let mut client = args.control.look()?;
    let status = ask(&mut client, &Request::Status)?;
    let links = client.links().map_err(told)?;
    output.print(&MetricsReport {
        openmetrics: encode(status, links),
    })
}

impl fmt::Display for MetricsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.openmetrics)
    }
}
