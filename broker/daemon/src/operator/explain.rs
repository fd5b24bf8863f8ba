//! `irqbroker explain LINK`: what led to a link's state, and what would change it.

use std::fmt;

use clap::Args;
use irqbroker_protocol::Explain;
use irqbroker_protocol::Explanation;
use irqbroker_protocol::Request;
use serde::Serialize;

use super::connect::ControlArgs;
use super::connect::ask;
use super::links::side;
use super::printable;
use crate::output::Output;

/// Options of `irqbroker explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Its id as `irqbroker links` shows it, its name, or the name of its producer or consumer
    #[arg(value_name = "LINK")]
    link: String,
}

/// The report of `irqbroker explain`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ExplainReport(Explanation);

/// Asks and prints.
///
/// # Errors
///
/// No daemon answers, or there is no such link.
pub(crate) fn run(args: &ExplainArgs, output: &Output) -> anyhow::Result<()> {
    let explain = Explain {
        link: args.link.clone(),
    };
    let explanation = ask(&mut args.control.look()?, &Request::Explain(explain))?;
    output.print(&ExplainReport(explanation))
}

impl fmt::Display for ExplainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation { row, causes } = &self.0;
        let producer = side(row.producer.as_ref());
        let consumer = side(row.consumer.as_ref());
        writeln!(f, "link {}: {producer} -> {consumer}", row.id)?;
        writeln!(f, "{}: {}", row.state, printable(&row.reason))?;
        for cause in causes {
            writeln!(f, "  - {}", printable(&cause.text))?;
            if let Some(remedy) = &cause.remedy {
                writeln!(f, "    to change it: {}", printable(remedy))?;
            }
        }
        Ok(())
    }
}
