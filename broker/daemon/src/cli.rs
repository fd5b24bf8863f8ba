//! The command tree, and which function each command calls.

use clap::Args;
use clap::Parser;
use clap::Subcommand;

use crate::client;
use crate::demo;
use crate::doctor;
use crate::failure::Detail;
use crate::latency;
use crate::output::Format;
use crate::output::Output;
use crate::serve;
use crate::vfio;
use crate::vgpu;

/// Interrupt forwarding for Linux VMMs: see which path interrupts take, and what it costs
#[derive(Debug, Parser)]
#[command(name = "irqbroker", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options every command takes, before or after its name.
#[derive(Debug, Args)]
struct Global {
    /// Print one JSON object on stdout and nothing else there
    #[arg(long, global = true)]
    json: bool,
    /// Show every cause of an error, and debug tracing on stderr (narrow it with RUST_LOG)
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boot a tiny guest and give it a device's interrupts through the broker
    Demo(demo::DemoArgs),
    /// Measure the time from a device's event to the guest's interrupt handler, for each path
    Latency(latency::LatencyArgs),
    /// Show what this host offers to interrupts, and what it costs where something is missing
    Doctor(doctor::DoctorArgs),
    /// Look at a VFIO device
    Vfio(vfio::VfioArgs),
    /// Offer a vGPU to other VMMs
    Vgpu(vgpu::VgpuArgs),
    /// Pair producers and consumers of different processes over a control socket
    Serve(serve::ServeArgs),
    /// Try a daemon: be a producer's process, or a VMM
    Client(client::ClientArgs),
}

impl Cli {
    /// Runs the chosen command.
    ///
    /// # Errors
    ///
    /// Whatever the command failed with; its outermost text names the remedy where there is one.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let output = Output::new(match self.global.json {
            true => Format::Json,
            false => Format::Human,
        });
        match &self.command {
            Command::Demo(args) => demo::run(args, &output),
            Command::Latency(args) => latency::run(args, &output),
            Command::Doctor(args) => doctor::run(args, &output),
            Command::Vfio(args) => vfio::run(args, &output),
            Command::Vgpu(args) => vgpu::run(args, &output),
            Command::Serve(args) => serve::run(args, &output),
            Command::Client(args) => client::run(args, &output),
        }
    }

    /// How much of an error to tell.
    pub(crate) fn detail(&self) -> Detail {
        match self.global.verbose {
            true => Detail::Chain,
            false => Detail::Outermost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_are_taken_before_and_after_the_command() {
        let before = Cli::try_parse_from(["irqbroker", "--json", "-v", "doctor"]).unwrap();
        let after = Cli::try_parse_from(["irqbroker", "doctor", "--json", "-v"]).unwrap();
        for cli in [before, after] {
            assert!(cli.global.json);
            assert_eq!(cli.detail(), Detail::Chain);
        }
    }

    #[test]
    fn a_usage_error_exits_with_two() {
        let error = Cli::try_parse_from(["irqbroker", "demo", "--heads", "none"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
