//! `irqbroker vgpu`: the types there are, one of them on a vfio-user socket, those a daemon hosts, and what
//! they show, also over VNC.

mod args;
mod hosted;
mod screenshot;
mod serve;
mod sockets;
mod types;
mod views;
mod vnc;

pub(crate) use args::VgpuArgs;
pub(crate) use sockets::remove_stale;

use crate::output::Output;
use crate::vgpu_host;

/// Runs a command of `irqbroker vgpu`.
///
/// # Errors
///
/// See the command's own.
pub(crate) fn run(args: &VgpuArgs, output: &Output) -> anyhow::Result<()> {
    match &args.command {
        args::VgpuCommand::Types => types::run(output),
        args::VgpuCommand::Serve(args) => serve::run(args, output),
        args::VgpuCommand::List(args) => hosted::list(args, output),
        args::VgpuCommand::Create(args) => hosted::create(args, output),
        args::VgpuCommand::Destroy(args) => hosted::destroy(args, output),
        args::VgpuCommand::Spawner(args) => vgpu_host::run_spawner(args),
        args::VgpuCommand::Screenshot(args) => screenshot::run(args, output),
    }
}
