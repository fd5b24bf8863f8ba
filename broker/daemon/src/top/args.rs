//! What `irqbroker top` can be told.

use clap::Args;

use super::sort::Sort;
use crate::operator::ControlArgs;

/// Options of `irqbroker top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(super) control: ControlArgs,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub(super) interval: f64,
    /// End after so many tables; 1 with --json
    #[arg(long, value_name = "N")]
    pub(super) count: Option<u64>,
    /// By what the links are sorted
    #[arg(long, value_name = "COLUMN", value_enum, default_value_t = Sort::Rate)]
    pub(super) sort: Sort,
    /// Only links with this in a name, state or reason
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) filter: String,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "no number".to_owned())?;
    match (0.1..=3600.0).contains(&seconds) {
        true => Ok(seconds),
        false => Err("0.1 to 3600 seconds".to_owned()),
    }
}
