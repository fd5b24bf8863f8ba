//! What `irqbroker vfio` can be told.

use clap::Args;
use clap::Subcommand;
use irqbroker_vfio::DeviceAddress;

/// Options of `irqbroker vfio`.
#[derive(Debug, Args)]
pub(crate) struct VfioArgs {
    #[command(subcommand)]
    pub(crate) command: VfioCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VfioCommand {
    /// Show a device's regions, interrupts and planes; nothing is changed but that opening a
    /// device resets it
    Probe(ProbeArgs),
}

/// Options of `irqbroker vfio probe`.
#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// A PCI address (0000:00:05.0), an mdev's UUID, or a device's path below /sys
    #[arg(value_name = "DEVICE")]
    pub(crate) device: DeviceAddress,
}
