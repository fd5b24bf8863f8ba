//! `irqbroker vgpu`: the types there are, one of them on a vfio-user socket, and what that shows, also
//! over VNC.

mod args;
mod screenshot;
mod serve;
mod sockets;
mod types;
mod vnc;

pub(crate) use args::VgpuArgs;

use crate::output::Output;

/// Runs a command of `irqbroker vgpu`.
///
/// # Errors
///
/// See the command's own.
pub(crate) fn run(args: &VgpuArgs, output: &Output) -> anyhow::Result<()> {
    match &args.command {
        args::VgpuCommand::Types => types::run(output),
        args::VgpuCommand::Serve(args) => serve::run(args, output),
        args::VgpuCommand::Screenshot(args) => screenshot::run(args, output),
    }
}
