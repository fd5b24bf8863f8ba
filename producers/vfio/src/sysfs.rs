//! What sysfs tells of a device before it is opened.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::address::DeviceAddress;

/// Drivers that leave a group viable besides VFIO's own, since they do no DMA for the host
/// (`drivers/pci/pcie/portdrv.c` and `drivers/pci/pci-stub.c`, `driver_managed_dma`).
const HARMLESS: [&str; 2] = ["pcieport", "pci-stub"];

/// Where to look for devices.
#[derive(Debug, Clone)]
pub(crate) struct Sysfs {
    root: PathBuf,
}

/// A device that exists, and what is known of it without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    /// Its folder, whose last part is its name.
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) driver: Option<String>,
    /// Number of its IOMMU group.
    pub(crate) group: Option<u32>,
    /// `vfioN`, its name below `/dev/vfio/devices` if the kernel has device nodes at all.
    pub(crate) node: Option<String>,
    /// Devices of the group whose drivers keep it from being given to user space.
    pub(crate) foreign: Vec<GroupMember>,
    bus: Bus,
}

/// The bus a device is on, as far as it matters for its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bus {
    Pci,
    Platform,
    /// Mediated devices, whose drivers have names of their own.
    Mdev,
}

/// A device of an IOMMU group, and the driver it is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The device's name in sysfs.
    pub name: String,
    /// The driver's name.
    pub driver: String,
}

impl std::fmt::Display for GroupMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.driver)
    }
}

impl Sysfs {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The device, or `None` where there is no such folder.
    pub(crate) fn locate(&self, address: &DeviceAddress) -> Option<Located> {
        let path = match address {
            DeviceAddress::Pci(pci) => self.root.join("bus/pci/devices").join(pci.to_string()),
            DeviceAddress::Mdev(uuid) => self.root.join("bus/mdev/devices").join(uuid.to_string()),
            // Resolved, so that `..` and a trailing slash leave a name as the last part.
            DeviceAddress::Sysfs(path) => fs::canonicalize(path).ok()?,
        };
        let name = path.file_name()?.to_str()?.to_owned();
        if !path.is_dir() {
            return None;
        }
        let bus = match address {
            DeviceAddress::Pci(_) => Bus::Pci,
            DeviceAddress::Mdev(_) => Bus::Mdev,
            // What has no bus is some other folder.
            DeviceAddress::Sysfs(_) => match link_name(&path.join("subsystem"))?.as_str() {
                "pci" => Bus::Pci,
                "mdev" => Bus::Mdev,
                _ => Bus::Platform,
            },
        };
        let group = link_name(&path.join("iommu_group")).and_then(|id| id.parse().ok());
        Some(Located {
            driver: link_name(&path.join("driver")),
            node: only_entry(&path.join("vfio-dev")),
            foreign: foreign_members(&path.join("iommu_group/devices"), &name),
            bus,
            path,
            name,
            group,
        })
    }
}

impl Located {
    /// VFIO's driver for the device's bus.
    pub(crate) fn vfio_driver(&self) -> &'static str {
        match self.bus {
            Bus::Pci => "vfio-pci",
            Bus::Platform => "vfio-platform",
            Bus::Mdev => "vfio_mdev",
        }
    }

    /// Whether the driver is one of VFIO's, as far as sysfs tells.
    pub(crate) fn has_vfio_driver(&self) -> bool {
        let by_name = self.driver.as_deref().is_some_and(is_vfio);
        by_name || self.node.is_some() || (self.bus == Bus::Mdev && self.driver.is_some())
    }
}

/// VFIO's drivers, variant drivers included (`mlx5_vfio_pci`), have it in their name.
fn is_vfio(driver: &str) -> bool {
    driver.contains("vfio")
}

fn foreign_members(devices: &Path, this: &str) -> Vec<GroupMember> {
    let entries = fs::read_dir(devices).into_iter().flatten().flatten();
    let others = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let driver = link_name(&entry.path().join("driver"))?;
        Some(GroupMember { name, driver })
    });
    let mut foreign: Vec<GroupMember> = others
        .filter(|member| member.name != this)
        .filter(|member| !is_vfio(&member.driver) && !HARMLESS.contains(&member.driver.as_str()))
        .collect();
    foreign.sort_by(|a, b| a.name.cmp(&b.name));
    foreign
}

/// Last part of what a link points at.
fn link_name(link: &Path) -> Option<String> {
    let target = fs::read_link(link).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

fn only_entry(folder: &Path) -> Option<String> {
    let mut entries = fs::read_dir(folder).ok()?.flatten();
    let only = entries.next()?.file_name().into_string().ok();
    only.filter(|_| entries.next().is_none())
}
