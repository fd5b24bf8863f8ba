//! Opening a VFIO device by its name: through its own node where it has one, else its group.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use irqbroker_core::Rid;
use irqbroker_vfio_abi::Errno;
use rustix::io::Errno as HostErrno;

use crate::address::DeviceAddress;
use crate::address::PciAddress;
use crate::container::open_container;
use crate::device_fd;
use crate::device_fd::DeviceFd;
use crate::open_error::OpenError;
use crate::open_error::Step;
use crate::sysfs::Located;
use crate::sysfs::Sysfs;

/// `VFIO_GROUP_FLAGS_VIABLE`.
const VIABLE: u32 = 1;

/// Opens VFIO devices of this host.
#[derive(Debug, Clone)]
pub struct Opener {
    sysfs: Sysfs,
    dev: PathBuf,
    through: Through,
}

/// Which of the two ways a device is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Through {
    /// Its own node if it has one and iommufd is there, else its group.
    #[default]
    Either,
    /// `/dev/vfio/devices/vfioN`, bound to an iommufd.
    Node,
    /// `/dev/vfio/GROUP`, in a container.
    Group,
}

/// A device that is open and its user's alone.
#[derive(Debug)]
pub struct Opened {
    /// The device; it holds its container or iommufd.
    pub device: Arc<DeviceFd>,
    /// Its name in sysfs: the PCI address, the UUID, or the platform device's name.
    pub name: String,
    /// Its requester id, if it is a PCI function.
    pub source_id: Option<Rid>,
    /// Which node it was opened through.
    pub node: PathBuf,
}

impl Default for Opener {
    fn default() -> Self {
        Self {
            sysfs: Sysfs::new("/sys"),
            dev: "/dev".into(),
            through: Through::default(),
        }
    }
}

impl Opener {
    /// Looks in `/sys` and `/dev`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Which way to open devices.
    #[must_use]
    pub fn through(mut self, through: Through) -> Self {
        self.through = through;
        self
    }

    /// Looks in other folders instead of `/sys` and `/dev`. The container stays
    /// `/dev/vfio/vfio`, since `vfio-ioctls` knows no other.
    #[must_use]
    pub fn roots(mut self, sys: impl Into<PathBuf>, dev: impl Into<PathBuf>) -> Self {
        self.sysfs = Sysfs::new(sys);
        self.dev = dev.into();
        self
    }

    /// Opens the device.
    ///
    /// Opening resets most devices, and VFIO turns bus mastering off: see
    /// [`enable_bus_master`](crate::enable_bus_master).
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; nothing stays open.
    pub fn open(&self, address: &DeviceAddress) -> Result<Opened, OpenError> {
        let located = self.locate(address)?;
        let node = located.node.as_ref();
        let node = node.map(|name| self.dev.join("vfio/devices").join(name));
        let iommufd = self.dev.join("iommu");
        // Kernels without device nodes have their names in sysfs all the same.
        let has_node = node.filter(|node| node.exists() && iommufd.exists());
        let (device, node) = match (self.through, has_node) {
            (Through::Either | Through::Node, Some(node)) => {
                (open_node(&located, &node, &iommufd)?, node)
            }
            (Through::Node, None) => {
                return Err(OpenError::NoNode {
                    device: located.name,
                });
            }
            (Through::Either | Through::Group, _) => self.open_group(&located)?,
        };
        Ok(Opened {
            device: Arc::new(device),
            source_id: located.name.parse().ok().map(PciAddress::rid),
            name: located.name,
            node,
        })
    }

    /// The device, if it is there and everything about it is as it has to be.
    fn locate(&self, address: &DeviceAddress) -> Result<Located, OpenError> {
        let located = self.sysfs.locate(address);
        let located = located.ok_or_else(|| OpenError::NoSuchDevice {
            address: address.clone(),
        })?;
        let device = located.name.clone();
        let needed = located.vfio_driver();
        match &located.driver {
            None => Err(OpenError::NoDriver { device, needed }),
            Some(driver) if !located.has_vfio_driver() => Err(OpenError::ForeignDriver {
                device,
                driver: driver.clone(),
                needed,
            }),
            Some(_) => match located.group {
                None => Err(OpenError::NoIommuGroup { device }),
                Some(group) if !located.foreign.is_empty() => Err(OpenError::GroupNotViable {
                    group,
                    members: located.foreign,
                }),
                Some(_) => Ok(located),
            },
        }
    }

    fn open_group(&self, located: &Located) -> Result<(DeviceFd, PathBuf), OpenError> {
        let device = &located.name;
        let Some(id) = located.group else {
            return Err(OpenError::NoIommuGroup {
                device: device.clone(),
            });
        };
        let node = self.dev.join("vfio").join(id.to_string());
        let group = open_rw(&node)?;
        let refused = |step| move |source| refused(device, step, source);
        let status = device_fd::group_status(group.as_fd()).map_err(refused(Step::GroupStatus))?;
        if status & VIABLE == 0 {
            return Err(OpenError::GroupNotViable {
                group: id,
                members: located.foreign.clone(),
            });
        }
        let container =
            open_container().map_err(|source| OpenError::Container { group: id, source })?;
        device_fd::set_container(group.as_fd(), &container).map_err(refused(Step::SetContainer))?;
        device_fd::set_iommu(&container).map_err(refused(Step::SetIommu))?;
        let name = CString::new(device.as_str()).unwrap_or_default();
        let fd =
            device_fd::device_of_group(group.as_fd(), &name).map_err(refused(Step::GetDevice))?;
        Ok((DeviceFd::new(fd, Arc::new((group, container))), node))
    }
}

/// Opens the device called `address` with an [`Opener`] of its own.
///
/// # Errors
///
/// See [`OpenError`].
pub fn open(address: &DeviceAddress) -> Result<Opened, OpenError> {
    Opener::new().open(address)
}

fn open_node(located: &Located, node: &Path, iommufd: &Path) -> Result<DeviceFd, OpenError> {
    let device = open_rw(node)?;
    let iommufd = open_rw(iommufd)?;
    let refused = |step| move |source| refused(&located.name, step, source);
    device_fd::bind_iommufd(device.as_fd(), iommufd.as_fd()).map_err(refused(Step::BindIommufd))?;
    let ioas = device_fd::alloc_ioas(iommufd.as_fd()).map_err(refused(Step::AttachIoas))?;
    device_fd::attach_ioas(device.as_fd(), ioas).map_err(refused(Step::AttachIoas))?;
    Ok(DeviceFd::new(device, Arc::new(iommufd)))
}

fn refused(device: &str, step: Step, source: Errno) -> OpenError {
    let device = device.to_owned();
    match (step, source) {
        // What the type1 driver and iommufd answer without interrupt remapping.
        (Step::SetIommu | Step::AttachIoas, Errno::EPERM) => {
            OpenError::NoInterruptRemapping { device, source }
        }
        _ => OpenError::Refused {
            device,
            step,
            source,
        },
    }
}

fn open_rw(node: &Path) -> Result<OwnedFd, OpenError> {
    let opened = OpenOptions::new().read(true).write(true).open(node);
    opened
        .map(OwnedFd::from)
        .map_err(|source| not_opened(node.to_owned(), source))
}

fn not_opened(node: PathBuf, source: io::Error) -> OpenError {
    match HostErrno::from_io_error(&source) {
        // A static node exists before its module does: opening it then gives ENODEV or ENXIO.
        Some(HostErrno::NOENT | HostErrno::NODEV | HostErrno::NXIO) => OpenError::Missing { node },
        Some(HostErrno::ACCESS | HostErrno::PERM) => OpenError::Denied { node, source },
        Some(HostErrno::BUSY) => OpenError::Busy { node, source },
        _ => OpenError::Open { node, source },
    }
}

#[cfg(test)]
mod tests;
