//! The parent: creates vGPU instances and finds them by id.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use dashmap::DashMap;
use rustix::io::Errno;

use crate::budget::BudgetError;
use crate::budget::Purse;
use crate::budget::VgpuBudget;
use crate::device::VgpuDevice;
use crate::export::ExportDmabuf;
use crate::instance::CreateError;
use crate::instance::InstanceConfig;
use crate::instance::InstanceId;
use crate::instance::VgpuInstance;
use crate::scheduler::VblankScheduler;
use crate::udmabuf_fd::UdmabufFd;
use crate::vgpu_type::TypeError;
use crate::vgpu_type::VgpuType;

/// What vGPU instances are created from, as a GPU is the parent of its mediated devices.
///
/// All its instances share one scheduler, as may several parents. Instances outlive the parent in
/// the hands of whoever holds them.
#[derive(Debug)]
pub struct VgpuParent {
    scheduler: VblankScheduler,
    /// No code but the map's own runs under a guard of it, so it has no place in the lock order.
    instances: DashMap<InstanceId, Arc<VgpuInstance>>,
    /// The devices among them; likewise.
    devices: DashMap<InstanceId, Arc<VgpuDevice>>,
    purse: Purse,
    exporter: Option<Arc<dyn ExportDmabuf>>,
    next_id: AtomicU64,
}

/// Why a device could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateDeviceError {
    /// There can be no such device.
    #[error("no vgpu can be of type {name}")]
    Type {
        /// The type.
        name: String,
        /// What is wrong with it.
        #[source]
        source: TypeError,
    },
    /// The parent has no room for it.
    #[error("no room for a vgpu of type {name}")]
    Budget {
        /// The type.
        name: String,
        /// What is short.
        #[source]
        source: BudgetError,
    },
    /// Its heads could not be made.
    #[error("cannot make the heads of a vgpu of type {name}")]
    Instance {
        /// The type.
        name: String,
        /// What was wrong.
        #[source]
        source: CreateError,
    },
    /// The host gives no memory.
    #[error("cannot make vram of {vram} bytes")]
    Vram {
        /// Bytes.
        vram: u64,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
}

/// Why an instance could not be destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DestroyError {
    /// There is none, or no more.
    #[error("no vgpu instance {id}")]
    Unknown {
        /// The id asked for.
        id: InstanceId,
    },
}

impl VgpuParent {
    /// A parent without instances, whose vblanks `scheduler` times.
    #[must_use]
    pub fn new(scheduler: VblankScheduler) -> Self {
        Self::with_budget(scheduler, VgpuBudget::UNLIMITED)
    }

    /// The same, whose devices together take no more than `budget`. Instances without a device,
    /// which have no VRAM, are not counted.
    #[must_use]
    pub fn with_budget(scheduler: VblankScheduler, budget: VgpuBudget) -> Self {
        Self {
            scheduler,
            instances: DashMap::new(),
            devices: DashMap::new(),
            purse: Purse::new(budget),
            exporter: UdmabufFd::open().map(|node| Arc::new(node) as Arc<dyn ExportDmabuf>),
            next_id: AtomicU64::new(0),
        }
    }

    /// The same, whose devices make their dma-bufs in another way, or none.
    #[cfg(test)]
    pub(crate) fn with_exporter(self, exporter: Option<Arc<dyn ExportDmabuf>>) -> Self {
        Self { exporter, ..self }
    }

    /// What is left for devices to come.
    #[must_use]
    pub fn budget_left(&self) -> VgpuBudget {
        self.purse.left()
    }

    /// The scheduler of all instances.
    #[must_use]
    pub fn scheduler(&self) -> &VblankScheduler {
        &self.scheduler
    }

    /// Creates an instance; its heads begin to count frames, and tick once they are wanted.
    ///
    /// # Errors
    ///
    /// See [`CreateError`]. No instance is created.
    pub fn create(&self, config: InstanceConfig) -> Result<Arc<VgpuInstance>, CreateError> {
        let instance = self.build(config)?;
        self.instances.insert(instance.id(), instance.clone());
        Ok(instance)
    }

    /// Creates a device; its instance is among [`instances`](Self::instances) too, and takes it
    /// along when it is [destroyed](Self::destroy). What it takes of the budget is given back once
    /// nobody holds the device any more.
    ///
    /// # Errors
    ///
    /// See [`CreateDeviceError`]. No device and no instance is created.
    pub fn create_device(
        &self,
        vgpu: &VgpuType,
        name: Option<String>,
    ) -> Result<Arc<VgpuDevice>, CreateDeviceError> {
        let type_name = || vgpu.name.to_string();
        vgpu.check().map_err(|source| CreateDeviceError::Type {
            name: type_name(),
            source,
        })?;
        let reservation = self.purse.reserve(vgpu.vram);
        let reservation = reservation.map_err(|source| CreateDeviceError::Budget {
            name: type_name(),
            source,
        })?;
        let config = InstanceConfig {
            name,
            heads: vec![vgpu.refresh; vgpu.heads],
        };
        let instance = self.build(config);
        let instance = instance.map_err(|source| CreateDeviceError::Instance {
            name: type_name(),
            source,
        })?;
        let device = VgpuDevice::new(
            instance.clone(),
            vgpu.clone(),
            reservation,
            self.exporter.clone(),
        );
        let device = device.map_err(|source| CreateDeviceError::Vram {
            vram: vgpu.vram,
            source,
        })?;
        self.devices.insert(instance.id(), device.clone());
        self.instances.insert(instance.id(), instance);
        Ok(device)
    }

    fn build(&self, config: InstanceConfig) -> Result<Arc<VgpuInstance>, CreateError> {
        // Relaxed: ids need to differ, nothing else is published by them.
        let id = InstanceId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let instance = Arc::new(VgpuInstance::new(id, config, &self.scheduler)?);
        tracing::debug!(
            name = instance.name(),
            heads = instance.heads().len(),
            "created"
        );
        Ok(instance)
    }

    /// Destroys an instance: no event of its is signalled after return, whoever still holds it, its
    /// device or its producers. Waits for vblanks under way; must not be called by an observer.
    ///
    /// # Errors
    ///
    /// See [`DestroyError`].
    pub fn destroy(&self, id: InstanceId) -> Result<(), DestroyError> {
        let (_, instance) = self
            .instances
            .remove(&id)
            .ok_or(DestroyError::Unknown { id })?;
        let device = self.devices.remove(&id);
        if let Some((_, device)) = &device {
            device.retire();
        }
        instance.retire();
        tracing::debug!(name = instance.name(), "destroyed");
        Ok(())
    }

    /// The instance of that id.
    #[must_use]
    pub fn get(&self, id: InstanceId) -> Option<Arc<VgpuInstance>> {
        Some(self.instances.get(&id)?.clone())
    }

    /// The device of that id, if the instance was created with one.
    #[must_use]
    pub fn device(&self, id: InstanceId) -> Option<Arc<VgpuDevice>> {
        Some(self.devices.get(&id)?.clone())
    }

    /// All instances, by id.
    #[must_use]
    pub fn instances(&self) -> Vec<Arc<VgpuInstance>> {
        let mut all: Vec<_> = self.instances.iter().map(|entry| entry.clone()).collect();
        all.sort_by_key(|instance| instance.id());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use irqbroker_core::Producer;

    use crate::fakes::create;
    use crate::granularity::Granularity;
    use crate::head::HeadId;
    use crate::instance::MAX_HEADS;
    use crate::refresh::Refresh;
    use crate::scheduler::VblankScheduler;

    fn parent() -> VgpuParent {
        VgpuParent::new(VblankScheduler::new(Granularity::Exact))
    }

    #[test]
    fn producers_are_named_by_instance_and_head() {
        let parent = parent();
        let instance = create(&parent, &[Refresh::HZ_60; 2]);
        let producer: Arc<dyn Producer> = instance.head(HeadId(1)).unwrap().producer();
        assert_eq!(producer.name(), "vgpu0.head1.vblank");
        assert!(instance.head(HeadId(2)).is_none());
    }

    #[test]
    fn create_with_too_few_or_too_many_heads_is_refused_and_creates_nothing() {
        let parent = parent();
        for heads in [0, MAX_HEADS + 1] {
            let config = InstanceConfig {
                name: Some("gpu".into()),
                heads: vec![Refresh::HZ_60; heads],
            };
            let refused = parent.create(config);
            assert!(matches!(refused, Err(CreateError::HeadCount { heads: h }) if h == heads));
        }
        assert!(parent.instances().is_empty());
        assert_eq!(
            create(&parent, &[Refresh::HZ_60; MAX_HEADS]).heads().len(),
            MAX_HEADS
        );
    }

    #[test]
    fn device_is_created_of_its_type_and_found_with_its_instance() {
        let parent = parent();
        let dual = VgpuType::find("dual").unwrap();
        let device = parent.create_device(&dual, Some("gpu".into())).unwrap();
        let instance = device.instance();
        assert_eq!((instance.name(), instance.heads().len()), ("gpu", 2));
        assert_eq!(device.vgpu_type(), &dual);
        assert!(Arc::ptr_eq(&parent.device(instance.id()).unwrap(), &device));
        assert!(Arc::ptr_eq(&parent.get(instance.id()).unwrap(), instance));
        let bare = create(&parent, &[Refresh::HZ_60]);
        assert!(parent.device(bare.id()).is_none());
    }

    #[test]
    fn device_beyond_the_budget_is_refused_and_takes_nothing() {
        // One of 16 MiB and then none of 8.
        let budget = VgpuBudget {
            vram: 20 << 20,
            devices: 2,
        };
        let scheduler = VblankScheduler::new(Granularity::Exact);
        let parent = VgpuParent::with_budget(scheduler, budget);
        let [small, medium] = ["small", "medium"].map(|name| VgpuType::find(name).unwrap());
        let device = parent.create_device(&medium, None).unwrap();
        let left = parent.budget_left();
        let refused = parent.create_device(&small, None).unwrap_err();
        let source = BudgetError::Vram {
            needed: 8 << 20,
            left: 4 << 20,
        };
        assert!(matches!(refused, CreateDeviceError::Budget { source: s, .. } if s == source));
        assert_eq!((parent.budget_left(), parent.instances().len()), (left, 1));
        parent.destroy(device.instance().id()).unwrap();
        drop(device);
        assert_eq!(parent.budget_left(), budget);
        parent.create_device(&small, None).unwrap();
    }

    #[test]
    fn device_of_a_type_that_cannot_be_is_refused_and_takes_nothing() {
        let parent = parent();
        let vgpu = VgpuType {
            heads: 0,
            ..VgpuType::find("small").unwrap()
        };
        let refused = parent.create_device(&vgpu, None).unwrap_err();
        let source = TypeError::Heads { heads: 0 };
        assert!(matches!(refused, CreateDeviceError::Type { source: s, .. } if s == source));
        assert_eq!(parent.budget_left(), VgpuBudget::UNLIMITED);
        assert!(parent.instances().is_empty());
    }

    #[test]
    fn destroyed_instance_is_not_found_and_its_id_not_given_again() {
        let parent = parent();
        let first = create(&parent, &[Refresh::HZ_60]).id();
        parent.destroy(first).unwrap();
        assert!(parent.get(first).is_none());
        assert_eq!(
            parent.destroy(first),
            Err(DestroyError::Unknown { id: first })
        );
        let second = create(&parent, &[Refresh::HZ_60]).id();
        assert_ne!(second, first);
        assert_eq!(parent.get(second).unwrap().id(), second);
    }
}
