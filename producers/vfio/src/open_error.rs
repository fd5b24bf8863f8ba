//! Why a device could not be opened.

use std::fmt;
use std::io;
use std::path::PathBuf;

use irqbroker_vfio_abi::Errno;

use crate::address::DeviceAddress;
use crate::container::ContainerError;
use crate::sysfs::GroupMember;

/// Why a device could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Sysfs has no such device.
    #[error("{address} does not exist; lspci -D and ls /sys/bus/mdev/devices list what does")]
    NoSuchDevice {
        /// What was asked for.
        address: DeviceAddress,
    },
    /// No driver is bound to the device.
    #[error(
        "{device} has no driver; write {needed} to its driver_override in sysfs and {device} to drivers_probe"
    )]
    NoDriver {
        /// The device.
        device: String,
        /// VFIO's driver for its bus.
        needed: &'static str,
    },
    /// The host uses the device.
    #[error(
        "{device} is bound to {driver}; unbind it, write {needed} to its driver_override in sysfs and {device} to drivers_probe"
    )]
    ForeignDriver {
        /// The device.
        device: String,
        /// The driver it is bound to.
        driver: String,
        /// VFIO's driver for its bus.
        needed: &'static str,
    },
    /// No IOMMU stands between the device and memory.
    #[error(
        "{device} has no iommu group; turn the iommu on in firmware and kernel (intel_iommu=on)"
    )]
    NoIommuGroup {
        /// The device.
        device: String,
    },
    /// The host uses another device of the group.
    #[error(
        "iommu group {group} is not viable; bind these to vfio-pci too: {}",
        list(members)
    )]
    GroupNotViable {
        /// The group.
        group: u32,
        /// The devices in question, empty if sysfs shows none.
        members: Vec<GroupMember>,
    },
    /// This user may not open the node.
    #[error("no permission to open {}; run as root or let a udev rule give you the node", node.display())]
    Denied {
        /// The node.
        node: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Somebody has the node open.
    #[error("{} is in use; end the process that has it open", node.display())]
    Busy {
        /// The node.
        node: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The node is not there.
    #[error("{} does not exist; load vfio-pci (modprobe vfio-pci)", node.display())]
    Missing {
        /// The node.
        node: PathBuf,
    },
    /// The device has no node of its own.
    #[error("{device} has no node below /dev/vfio/devices; open it through its group")]
    NoNode {
        /// The device.
        device: String,
    },
    /// A group's devices need a container.
    #[error("no container for iommu group {group}")]
    Container {
        /// The group.
        group: u32,
        /// What is wrong with the container.
        #[source]
        source: ContainerError,
    },
    /// The IOMMU cannot keep the device's messages apart from the host's (EPERM).
    #[error("{device} could forge interrupts; turn interrupt remapping on in firmware and kernel")]
    NoInterruptRemapping {
        /// The device.
        device: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// A node could not be opened for another reason.
    #[error("cannot open {}", node.display())]
    Open {
        /// The node.
        node: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A step after that was refused.
    #[error("the kernel refuses to {step} {device}")]
    Refused {
        /// The device.
        device: String,
        /// Which step.
        step: Step,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
}

/// A step on the way to an open device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `VFIO_GROUP_GET_STATUS`.
    GroupStatus,
    /// `VFIO_GROUP_SET_CONTAINER`.
    SetContainer,
    /// `VFIO_SET_IOMMU`.
    SetIommu,
    /// `VFIO_GROUP_GET_DEVICE_FD`.
    GetDevice,
    /// `VFIO_DEVICE_BIND_IOMMUFD`.
    BindIommufd,
    /// `IOMMU_IOAS_ALLOC` and `VFIO_DEVICE_ATTACH_IOMMUFD_PT`.
    AttachIoas,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GroupStatus => "tell the status of the group of",
            Self::SetContainer => "put into a container the group of",
            Self::SetIommu => "set the iommu of",
            Self::GetDevice => "hand out",
            Self::BindIommufd => "bind to an iommufd",
            Self::AttachIoas => "attach to an address space",
        })
    }
}

fn list(members: &[GroupMember]) -> String {
    let names: Vec<String> = members.iter().map(ToString::to_string).collect();
    match names.is_empty() {
        true => "all devices of the group".into(),
        false => names.join(", "),
    }
}
