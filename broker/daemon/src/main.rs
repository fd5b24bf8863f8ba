//! The `irqbroker` command: parse, dispatch, print the error.

mod cli;
mod client;
mod demo;
mod doctor;
mod failure;
mod guest;
mod halt_poll;
mod kvm_node;
mod latency;
mod machine;
mod output;
mod percentiles;
mod posted_guest;
mod progress;
mod serve;
mod table;
mod trace;
mod vfio;
mod vgpu;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    trace::install(cli.detail());
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            failure::print(&error, cli.detail());
            ExitCode::FAILURE
        }
    }
}
