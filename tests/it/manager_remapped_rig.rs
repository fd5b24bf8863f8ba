//! A manager's device behind a remapping unit whose table a story writes in its guest's place.

use std::sync::Arc;

use anyhow::Context;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Explanation;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker::remapping::RemappingUnit;
use irqbroker::remapping::VtdRemapper;
use irqbroker_core::DeliveryState;
use irqbroker_core::Reason;
use irqbroker_core::Rid;
use irqbroker_core::Vector;
use irqbroker_kvm::VmDomain;
use irqbroker_vfio::ProducerDevice;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::conformance::KernelProfile;
use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::VectorIndex;

use crate::manager_rig::Rig;
use crate::manager_rig::Spent;
use crate::remapping_rig::DEVICE;
use crate::remapping_rig::Faults;
use crate::remapping_rig::GuestTable;
use crate::remapping_rig::entry;
use crate::remapping_rig::handle;
use crate::remapping_rig::one;
use crate::remapping_rig::set_up;
use crate::remapping_rig::unit;
use crate::world::World;

/// The device's requester id on the host, which is none of the guest's business.
const ON_THE_HOST: Rid = Rid(0x1fe5);

pub(crate) const BYPASS: (DeliveryState, Reason) = (DeliveryState::Bypass, Reason::Best);
pub(crate) const UNTRANSLATED: (DeliveryState, Reason) =
    (DeliveryState::Relay, Reason::Untranslated);

/// A device of a manager, and the unit it is behind.
#[derive(Debug)]
pub(crate) struct Behind {
    pub(crate) rig: Rig,
    pub(crate) table: GuestTable,
    pub(crate) unit: Arc<RemappingUnit<VtdRemapper>>,
    pub(crate) faults: Faults,
}

/// What may be otherwise than in most stories.
pub(crate) struct Setting {
    pub(crate) table: GuestTable,
    pub(crate) remapper: VtdRemapper,
    pub(crate) options: ManagerOptions,
    pub(crate) kernel: KernelProfile,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            table: GuestTable::new(),
            remapper: set_up(),
            options: ManagerOptions::default(),
            kernel: KernelProfile::default(),
        }
    }
}

impl Behind {
    pub(crate) fn new(world: &dyn World, vectors: u16) -> anyhow::Result<Self> {
        Self::with(world.domain(), vectors, Setting::default())
    }

    pub(crate) fn with(
        domain: &Arc<VmDomain>,
        vectors: u16,
        setting: Setting,
    ) -> anyhow::Result<Self> {
        let Setting {
            table,
            remapper,
            options,
            kernel,
        } = setting;
        let manager = Manager::new(Arc::clone(domain), options)?;
        let (unit, faults) = unit(manager.registry(), domain, remapper, table.clone());
        let sim = SimDevice::pci().intx().msi(32).msix(vectors.into());
        let sim = sim.kernel(kernel);
        let rig = Rig::added(manager, vectors, sim, |manager, device, shape| {
            let producers = ProducerDevice::new("device", device, Some(ON_THE_HOST))?;
            let source = DeviceSource::Vfio(producers);
            Ok(manager.add_device_behind(unit.device(DEVICE), "device", source, shape)?)
        })?;
        Ok(Self {
            rig,
            table,
            unit,
            faults,
        })
    }

    /// The guest writes an entry, and says nothing.
    pub(crate) fn lead(&self, index: u16, vector: Vector) {
        self.table.write(index, entry(0, vector));
    }

    /// The guest says that an entry has changed; how many vectors went by it.
    pub(crate) fn invalidate(&self, index: u16) -> anyhow::Result<usize> {
        Ok(self.unit.invalidate(one(index))?.links)
    }

    /// The same, and what it and the service loop after it cost.
    pub(crate) fn spent_on(&self, world: &dyn World, index: u16) -> anyhow::Result<(Spent, usize)> {
        let mut named = Ok(0);
        let spent = self.rig.spent(world, |_| named = self.invalidate(index))?;
        Ok((spent, named?))
    }

    /// The guest enables MSI-X, each vector with the handle of its own number.
    pub(crate) fn enable(&self, vectors: u16) {
        let messages = (0..vectors).map(|at| (at, handle(at)));
        self.rig.guest.enable_msix(messages);
    }

    pub(crate) fn state(&self, vector: u16) -> anyhow::Result<(DeliveryState, Reason)> {
        let delivery = self.explain(vector).delivery.context("no link")?;
        Ok((delivery.state, delivery.reason))
    }

    pub(crate) fn explain(&self, vector: u16) -> Explanation {
        let vector = MessageSource::Msix(VectorIndex(vector));
        self.rig.guest.0.explain(vector)
    }

    /// How often the kernel took one of these vectors over.
    pub(crate) fn promotions(&self, vectors: u16) -> anyhow::Result<u64> {
        let registry = self.rig.manager.registry();
        let mut promotions = 0;
        for vector in 0..vectors {
            let link = self.explain(vector).link.context("no link")?;
            promotions += registry.link(link)?.counters.promotions;
        }
        Ok(promotions)
    }

    /// The device sends a vector's interrupt, and everything comes to rest.
    pub(crate) fn interrupt(&self, world: &dyn World, vector: u16) -> anyhow::Result<()> {
        self.rig.raise(vector);
        self.rig.settle(world)
    }
}
