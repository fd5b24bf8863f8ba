//! The `irqbroker` command: parse, dispatch, print the error.

mod cli;
mod client;
mod config;
mod demo;
mod doctor;
mod failure;
mod guest;
mod halt_poll;
mod kvm_node;
mod latency;
mod machine;
mod metrics;
mod operator;
mod output;
mod packaging;
mod percentiles;
mod posted_guest;
mod progress;
mod sandbox;
mod serve;
mod service;
mod table;
mod top;
mod trace;
mod vfio;
mod vgpu;
mod vgpu_host;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::refuse(&error),
    };
    trace::install(cli.detail());
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            failure::print(&error, cli.detail());
            ExitCode::FAILURE
        }
    }
}
