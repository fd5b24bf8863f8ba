//! What a device has, as far as cases depend on it.

use irqbroker_vfio_abi::DeviceFlags;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;

use crate::query;
use crate::raw::RawDevice;

/// More indexes than a device under test has.
const INDEXES_MAX: u32 = 64;

/// What a device has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceShape {
    /// What it said of itself; `None` of a node that is not bound to an iommufd, which says
    /// nothing.
    pub info: Option<DeviceInfo>,
    /// Its interrupt indexes; those that it refuses to tell of are not there.
    pub irqs: Vec<IrqInfo>,
    /// Its regions; those that it refuses to tell of are not there.
    pub regions: Vec<RegionInfo>,
    /// How it hands out pictures.
    pub gfx: Option<GfxTransport>,
}

impl DeviceShape {
    /// Asks the device.
    ///
    /// # Errors
    ///
    /// The device does not say what it is. A node that is not bound answers EINVAL, see
    /// [`unbound_node`](Self::unbound_node).
    pub fn of(device: &dyn RawDevice) -> Result<Self, Errno> {
        let info = query::device_info(device)?;
        let irqs = (0..info.num_irqs.min(INDEXES_MAX)).map(IrqIndex);
        let irqs = irqs.filter_map(|index| query::irq_info(device, index).ok());
        let regions = (0..info.num_regions.min(INDEXES_MAX)).map(RegionIndex);
        let regions = regions.filter_map(|index| query::region_info(device, index).ok());
        let transports = [GfxTransport::Dmabuf, GfxTransport::Region];
        let mut transports = transports.into_iter();
        Ok(Self {
            irqs: irqs.collect(),
            regions: regions.collect(),
            gfx: transports.find(|transport| query::probe_gfx(device, *transport).is_ok()),
            info: Some(info),
        })
    }

    /// A device opened by its own node and not bound to an iommufd.
    #[must_use]
    pub fn unbound_node() -> Self {
        Self {
            info: None,
            irqs: Vec::new(),
            regions: Vec::new(),
            gfx: None,
        }
    }

    /// The index, if the device tells of it.
    #[must_use]
    pub fn irq(&self, index: IrqIndex) -> Option<&IrqInfo> {
        self.irqs.iter().find(|irq| irq.index == index)
    }

    /// How many sub-indexes the index has.
    #[must_use]
    pub fn count(&self, index: IrqIndex) -> u32 {
        self.irq(index).map_or(0, |irq| irq.count)
    }

    pub(super) fn has(&self, flag: DeviceFlags) -> bool {
        self.info
            .as_ref()
            .is_some_and(|info| info.flags.contains(flag))
    }

    pub(super) fn is_pci(&self) -> bool {
        self.has(DeviceFlags::PCI)
    }

    /// A platform interrupt: a level if it masks itself, else an edge.
    pub(super) fn platform_irq(&self, automasked: bool) -> Option<IrqIndex> {
        let mut irqs = self.irqs.iter().filter(|_| self.has(DeviceFlags::PLATFORM));
        let found = irqs.find(|irq| irq.flags.contains(IrqFlags::AUTOMASKED) == automasked);
        found.map(|irq| irq.index)
    }
}
