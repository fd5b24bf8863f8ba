//! The arguments of `client`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::Subcommand;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::Name;
use irqbroker_protocol::WireError;

use super::consume;
use super::produce;
use crate::config::SOCKET;
use crate::kvm_node;
use crate::operator::printable;
use crate::output::Output;

/// Most links of one process: the vectors the guest has handlers for.
const MOST_LINKS: u64 = 224;

/// Try a daemon: be a producer's process, or a VMM
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Signal eventfds that are registered with the daemon
    Produce(ProduceArgs),
    /// Boot a tiny guest and take interrupts that come through the daemon
    Consume(ConsumeArgs),
}

/// What both sides need.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub(super) socket: PathBuf,
    /// What the links are called: NAME.0, NAME.1 and so on; the same on both sides
    #[arg(long, value_name = "NAME", default_value = "demo")]
    pub(super) link: Name,
    /// How many links
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = clap::value_parser!(u64).range(1..=MOST_LINKS))]
    pub(super) links: u64,
    /// Give up when nothing has come for this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(super) timeout: Duration,
}

/// Options of `client produce`.
#[derive(Debug, Args)]
pub(super) struct ProduceArgs {
    #[command(flatten)]
    pub(super) common: Common,
    /// Events of each link
    #[arg(long, value_name = "N", default_value = "500",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) events: u64,
    /// Events a second of each link at most: each waits until `client consume` has taken the one before
    #[arg(long, value_name = "HZ", default_value = "100",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) rate: u32,
    /// Wait for nobody, for a VMM that is not `client consume`; events merge where it is slow
    #[arg(long)]
    pub(super) unpaced: bool,
}

/// Options of `client consume`.
#[derive(Debug, Args)]
pub(super) struct ConsumeArgs {
    #[command(flatten)]
    pub(super) common: Common,
    /// Events to be expected of each link
    #[arg(long, value_name = "N", default_value = "500",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) events: u64,
    /// Take the interrupts in user space: no guest, and no path but the relay
    #[arg(long)]
    pub(super) user_space: bool,
    /// The KVM device node
    #[arg(long, value_name = "NODE", default_value = kvm_node::DEFAULT)]
    pub(super) kvm: PathBuf,
}

/// Runs the chosen side.
///
/// # Errors
///
/// No daemon answers in time, or what the side needs cannot be had.
pub(crate) fn run(args: &ClientArgs, output: &Output) -> anyhow::Result<()> {
    match &args.command {
        Command::Produce(args) => produce::run(args, output),
        Command::Consume(args) => consume::run(args, output),
    }
}

impl Common {
    /// The name of a link.
    ///
    /// # Errors
    ///
    /// It would be too long.
    pub(super) fn link_name(&self, index: u64) -> anyhow::Result<Name> {
        Ok(Name::new(&format!("{}.{index}", self.link))?)
    }

    /// What is said where no daemon has answered in time.
    pub(super) fn no_daemon(&self) -> String {
        format!(
            "no daemon at {} answers within {} s; start one with `irqbroker serve`",
            self.socket.display(),
            self.timeout.as_secs_f64()
        )
    }

    /// The name of a side of a link, in this process.
    ///
    /// # Errors
    ///
    /// It would be too long.
    pub(super) fn side_name(&self, side: &str, index: u64) -> anyhow::Result<Name> {
        Ok(Name::new(&format!("{}.{index}.{side}", self.link))?)
    }
}

/// What the daemon said when it would not have this process; nothing where it only ends, since the next
/// one may.
pub(super) fn rejection(error: &WireError) -> Option<String> {
    match error.code {
        ErrorCode::ShuttingDown => None,
        code => Some(format!("{code}: {}", printable(&error.text))),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
