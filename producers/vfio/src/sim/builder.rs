//! What a simulated device can be.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use irqbroker_core::Trigger;
use irqbroker_vfio_abi::DeviceFlags;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::IntxLine;
use irqbroker_vfio_abi::IrqCapability;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::RegionCapability;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;

use super::SimDevice;
use super::config;
use super::config::Config;
use super::line::Line;
use super::state::Bus;
use super::state::State;
use crate::conformance::KernelProfile;

/// Bytes of the one BAR: a page.
const BAR_SIZE: u64 = 4096;
/// Vectors a host has for a device, if not told otherwise: all that MSI-X can have.
const HOST_VECTORS: u32 = 2048;

/// Builds a [`SimDevice`].
#[derive(Debug)]
#[must_use = "nothing is built yet"]
pub struct SimDeviceBuilder {
    state: State,
}

impl SimDeviceBuilder {
    pub(super) fn pci() -> Self {
        let mut builder = Self::new(Bus::Pci, DeviceFlags::PCI);
        builder.state.info.num_regions = RegionIndex::PCI_NUM;
        builder.state.info.num_irqs = IrqIndex::PCI_NUM;
        builder.region(RegionIndex::BAR0, BAR_SIZE, RegionFlags::MMAP);
        builder.region(
            RegionIndex::CONFIG,
            config::SIZE as u64,
            RegionFlags::empty(),
        );
        builder.pci_irq(IrqIndex::REQ, 1)
    }

    pub(super) fn platform(interrupts: &[Trigger]) -> Self {
        let mut builder = Self::new(Bus::Platform, DeviceFlags::PLATFORM);
        builder.state.info.num_regions = 1;
        builder.region(RegionIndex(0), BAR_SIZE, RegionFlags::MMAP);
        for (index, trigger) in (0..).map(IrqIndex).zip(interrupts) {
            let flags = match trigger {
                Trigger::Edge => IrqFlags::EVENTFD,
                Trigger::Level => IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED,
            };
            builder.state.lines.insert(index, Line::default());
            builder = builder.irq(IrqInfo {
                index,
                flags,
                count: 1,
                capabilities: Vec::new(),
            });
        }
        builder
    }

    fn new(bus: Bus, flags: DeviceFlags) -> Self {
        let info = DeviceInfo {
            flags: flags | DeviceFlags::RESET,
            num_regions: 0,
            num_irqs: 0,
            capabilities: Vec::new(),
        };
        Self {
            state: State {
                bus,
                profile: KernelProfile::default(),
                info,
                irqs: Vec::new(),
                regions: Vec::new(),
                planes: Vec::new(),
                config: Config::new(),
                bar: vec![0; 4096],
                intx: IntxLine::Connected,
                host_vectors: HOST_VECTORS,
                refused: Vec::new(),
                unbound: false,
                gone: false,
                active: None,
                vectors: 0,
                added: BTreeSet::new(),
                triggers: BTreeMap::new(),
                lines: BTreeMap::new(),
                held: BTreeMap::new(),
                script: super::script::Script::default(),
            },
        }
    }

    /// Has INTx.
    pub fn intx(mut self) -> Self {
        self.state.lines.insert(IrqIndex::INTX, Line::default());
        self.pci_irq(IrqIndex::INTX, 1)
    }

    /// Has INTx on a platform that did not connect the line.
    pub fn intx_not_connected(mut self) -> Self {
        self.state.intx = IntxLine::NotConnected;
        self.intx()
    }

    /// Has MSI with so many messages, 1 to 32.
    pub fn msi(self, messages: u32) -> Self {
        self.pci_irq(IrqIndex::MSI, messages)
    }

    /// Has MSI-X with so many vectors, 1 to 2048.
    pub fn msix(mut self, vectors: u32) -> Self {
        for region in &mut self.state.regions {
            if region.index == RegionIndex::BAR0 {
                region.capabilities = vec![RegionCapability::MsixMappable];
            }
        }
        self.pci_irq(IrqIndex::MSIX, vectors)
    }

    /// Is a PCI Express device, which has ERR.
    pub fn express(self) -> Self {
        self.pci_irq(IrqIndex::ERR, 1)
    }

    /// Has an index of its own behind the others, which says what it is for.
    pub fn own_index(self, count: u32, flags: IrqFlags, capabilities: Vec<IrqCapability>) -> Self {
        let index = IrqIndex(self.state.info.num_irqs);
        self.irq(IrqInfo {
            index,
            flags,
            count,
            capabilities,
        })
    }

    /// Shows this plane.
    pub fn plane(mut self, plane: GfxPlaneInfo) -> Self {
        self.state.planes.push(plane);
        self
    }

    /// On a host that has so many vectors for it.
    pub fn host_vectors(mut self, vectors: u32) -> Self {
        self.state.host_vectors = vectors;
        self
    }

    /// On a kernel that follows `profile`.
    pub fn kernel(mut self, profile: KernelProfile) -> Self {
        self.state.profile = profile;
        self
    }

    /// Cannot be reset.
    pub fn not_resettable(mut self) -> Self {
        self.state.info.flags.remove(DeviceFlags::RESET);
        self
    }

    /// Opened by its own node, and not bound to an iommufd yet.
    pub fn unbound_node(mut self) -> Self {
        self.state.unbound = true;
        self
    }

    /// The device.
    ///
    /// # Panics
    ///
    /// The process can have no more fds; a simulator is for tests.
    #[must_use]
    pub fn build(mut self) -> Arc<SimDevice> {
        let dynamic = self.state.profile.dynamic_msix && self.state.bus == Bus::Pci;
        for irq in &mut self.state.irqs {
            if irq.index == IrqIndex::MSIX && dynamic {
                irq.flags.remove(IrqFlags::NORESIZE);
            }
        }
        SimDevice::new(self.state).expect("a test can have one more fd")
    }

    fn pci_irq(self, index: IrqIndex, count: u32) -> Self {
        let flags = IrqInfo::pci_flags(index);
        self.irq(IrqInfo {
            index,
            flags,
            count,
            capabilities: Vec::new(),
        })
    }

    fn irq(mut self, irq: IrqInfo) -> Self {
        self.state.info.num_irqs = self.state.info.num_irqs.max(irq.index.0 + 1);
        self.state.irqs.push(irq);
        self
    }

    fn region(&mut self, index: RegionIndex, size: u64, more: RegionFlags) {
        self.state.regions.push(RegionInfo {
            index,
            flags: RegionFlags::READ | RegionFlags::WRITE | more,
            size,
            offset: u64::from(index.0) << 40,
            capabilities: Vec::new(),
        });
    }
}
