//! What `irqbroker vfio` can be told.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use clap::Subcommand;
use irqbroker_vfio::AddressError;
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
    /// A PCI address (0000:00:05.0), an mdev's UUID, a device's path below /sys, or the socket file of
    /// a vfio-user server
    #[arg(value_name = "DEVICE")]
    pub(crate) device: Target,
}

/// What is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A device of this host.
    Host(DeviceAddress),
    /// A device at the other end of a socket.
    Socket(PathBuf),
}

impl FromStr for Target {
    type Err = AddressError;

    /// A path is a socket's unless it is below `/sys`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains('/') && !text.starts_with("/sys/") {
            return Ok(Self::Socket(text.into()));
        }
        text.parse().map(Self::Host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_below_sys_is_a_device_and_any_other_a_socket() {
        let sysfs: Target = "/sys/bus/platform/devices/x".parse().unwrap();
        assert!(matches!(sysfs, Target::Host(DeviceAddress::Sysfs(_))));
        let socket: Target = "./vgpu.sock".parse().unwrap();
        assert_eq!(socket, Target::Socket("./vgpu.sock".into()));
        let pci: Target = "00:05.0".parse().unwrap();
        assert!(matches!(pci, Target::Host(DeviceAddress::Pci(_))));
    }
}
