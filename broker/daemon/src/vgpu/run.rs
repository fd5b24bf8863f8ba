//! Which command of `irqbroker vgpu` is run.

use crate::failure;
use crate::output::Output;
use crate::vgpu::args::VgpuArgs;
use crate::vgpu::args::VgpuCommand;
use crate::vgpu::hosted;
use crate::vgpu::screenshot;
use crate::vgpu::serve;
use crate::vgpu::types;
use crate::vgpu_host;

/// Runs a command of `irqbroker vgpu`.
///
/// # Errors
///
/// See the command's own.
pub(crate) fn run(args: &VgpuArgs, output: &Output) -> anyhow::Result<()> {
    match &args.command {
        VgpuCommand::Types(args) => types::run(args, output),
        // What is wrong with a socket, a file or an address is in the cause.
        VgpuCommand::Serve(args) => serve::run(args, output).map_err(failure::with_causes),
        VgpuCommand::List(args) => hosted::list(args, output),
        VgpuCommand::Create(args) => hosted::create(args, output),
        VgpuCommand::Destroy(args) => hosted::destroy(args, output),
        VgpuCommand::Spawner(args) => vgpu_host::run_spawner(args),
        VgpuCommand::Screenshot(args) => {
            screenshot::run(args, output).map_err(failure::with_causes)
        }
    }
}
