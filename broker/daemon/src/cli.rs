//! The command tree, and which function each command calls.

use clap::Args;
use clap::CommandFactory;
use clap::Parser;
use clap::Subcommand;

use crate::client;
use crate::demo;
use crate::doctor;
use crate::failure::Detail;
use crate::latency;
use crate::operator;
use crate::output::Format;
use crate::output::Output;
use crate::packaging;
use crate::service;
use crate::top;
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
    /// Show how the daemon stands
    Status(operator::StatusArgs),
    /// Show which interrupt takes which path, and why not a better one
    Links(operator::LinksArgs),
    /// Show what led to a link's state, and what would change it
    Explain(operator::ExplainArgs),
    /// Allow a link every path, or its relay only
    SetPath(operator::SetPathArgs),
    /// Show what happens in the daemon, one event a line
    Watch(operator::WatchArgs),
    /// Show the links as they live, with rates
    Top(top::TopArgs),
    /// Show the daemon's figures as OpenMetrics
    Metrics(operator::MetricsArgs),
    /// Print a shell's completions of this command
    Completions(packaging::CompletionsArgs),
    /// Print this command's man page
    Man(packaging::ManArgs),
    /// Pair producers and consumers of different processes over a control socket
    Serve(service::ServeArgs),
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
            Command::Status(args) => operator::status(args, &output),
            Command::Links(args) => operator::links(args, &output),
            Command::Explain(args) => operator::explain(args, &output),
            Command::SetPath(args) => operator::set_path(args, &output),
            Command::Watch(args) => operator::watch(args, &output),
            Command::Top(args) => top::run(args, &output),
            Command::Metrics(args) => operator::metrics(args, &output),
            Command::Completions(args) => packaging::completions(args, Self::command(), &output),
            Command::Man(args) => packaging::man(args, Self::command(), &output),
            Command::Serve(args) => service::run(args, self.detail(), &output),
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
