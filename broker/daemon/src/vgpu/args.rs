//! What `irqbroker vgpu` can be told.

use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use irqbroker::vgpu::VgpuType;

/// Options of `irqbroker vgpu`.
#[derive(Debug, Args)]
pub(crate) struct VgpuArgs {
    #[command(subcommand)]
    pub(crate) command: VgpuCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VgpuCommand {
    /// Show the types a vGPU can have
    Types,
    /// Offer one vGPU on a vfio-user socket, until a signal ends it
    Serve(ServeArgs),
}

/// Options of `irqbroker vgpu serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Its type, as `irqbroker vgpu types` lists them
    #[arg(long = "type", value_name = "TYPE", value_parser = vgpu_type)]
    pub(crate) vgpu_type: VgpuType,
    /// The socket file to make; QEMU takes it as
    /// -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"PATH"}}'
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: PathBuf,
}

fn vgpu_type(text: &str) -> Result<VgpuType, String> {
    VgpuType::find(text).ok_or_else(|| {
        let names: Vec<String> = VgpuType::ALL.map(|known| known.name.to_string()).to_vec();
        format!("the types are {}", names.join(", "))
    })
}
