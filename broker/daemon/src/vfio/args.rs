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

/// The text names neither a device nor a socket.
#[derive(Debug, thiserror::Error)]
#[error(
    "{text:?} is no device; write 0000:00:05.0, 00:05.0, an mdev uuid, a path below /sys, or a socket's with a slash, \
     as ./vgpu.sock"
)]
pub(crate) struct TargetError {
    text: String,
}

impl FromStr for Target {
    type Err = TargetError;

    /// A path is a socket's unless it is below `/sys`.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.contains('/') && !text.starts_with("/sys/") {
            return Ok(Self::Socket(text.into()));
        }
        let host = text.parse().map(Self::Host);
        host.map_err(|_: AddressError| TargetError { text: text.into() })
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
