//! The parent: creates vGPU instances and finds them by id.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use dashmap::DashMap;
use dashmap::Entry;
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
use crate::saved::RestoreError;
use crate::saved::SavedFile;
use crate::saved::SavedPart;
use crate::scheduler::VblankScheduler;
use crate::udmabuf_fd::UdmabufFd;
use crate::uuid::VgpuUuid;
use crate::vgpu_type::TypeError;
use crate::vgpu_type::VgpuType;
use crate::vram::Vram;

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
    /// Whose UUID it is; `None` while the device is being made. Likewise.
    uuids: DashMap<VgpuUuid, Option<InstanceId>>,
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
    /// There is a device of that UUID.
    #[error("there is a vgpu {uuid}")]
    Exists {
        /// As it was asked for.
        uuid: VgpuUuid,
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

/// Why a saved device could not be created anew.
#[derive(Debug, thiserror::Error)]
pub enum RestoreDeviceError {
    /// The file is none of a device that can be.
    #[error("cannot restore a vgpu")]
    Saved(#[source] RestoreError),
    /// There can be no device for it.
    #[error("cannot create the vgpu to restore")]
    Create(#[source] CreateDeviceError),
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
    /// There is none of that UUID, or no more.
    #[error("no vgpu {uuid}")]
    UnknownUuid {
        /// The UUID asked for.
        uuid: VgpuUuid,
    },
    /// Its device is open.
    #[error("vgpu instance {id} is in use")]
    InUse {
        /// Which one.
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
            uuids: DashMap::new(),
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

    /// How many more devices of a type there is room for; 0 for a type that cannot be.
    #[must_use]
    pub fn available_instances(&self, vgpu: &VgpuType) -> u32 {
        self.purse.left().available_instances(vgpu)
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
        let device = Vram::new(vgpu.vram).and_then(|vram| {
            let (instance, exporter) = (instance.clone(), self.exporter.clone());
            VgpuDevice::new(instance, vgpu.clone(), vram, reservation, exporter)
        });
        let device = device.map_err(|source| CreateDeviceError::Vram {
            vram: vgpu.vram,
            source,
        })?;
        self.devices.insert(instance.id(), device.clone());
        self.instances.insert(instance.id(), instance);
        Ok(device)
    }

    /// Creates a device by a UUID that its creator has chosen.
    ///
    /// # Errors
    ///
    /// See [`CreateDeviceError`]. No device and no instance is created.
    pub fn create_device_as(
        &self,
        uuid: VgpuUuid,
        vgpu: &VgpuType,
        name: Option<String>,
    ) -> Result<Arc<VgpuDevice>, CreateDeviceError> {
        match self.uuids.entry(uuid) {
            Entry::Occupied(_) => return Err(CreateDeviceError::Exists { uuid }),
            // Taken now, so that of two at once one is refused; found once it is there.
            Entry::Vacant(entry) => drop(entry.insert(None)),
        }
        match self.create_device(vgpu, name) {
            Ok(device) => {
                let id = device.instance().id();
                self.uuids.insert(uuid, Some(id));
                // Whoever destroys it by its number from here on finds the UUID too.
                if self.device(id).is_none() {
                    self.uuids.remove(&uuid);
                }
                Ok(device)
            }
            Err(error) => {
                self.uuids.remove(&uuid);
                Err(error)
            }
        }
    }

    /// Creates a device of the type that was saved, and makes it what was saved
    /// ([`VgpuDevice::save_state`]).
    ///
    /// # Errors
    ///
    /// See [`RestoreDeviceError`]. No device and no instance is created.
    pub fn restore_device(
        &self,
        saved: BorrowedFd<'_>,
        name: Option<String>,
    ) -> Result<Arc<VgpuDevice>, RestoreDeviceError> {
        let vgpu = SavedFile::read(saved).and_then(|file| {
            let part = SavedPart::Head;
            file.state
                .vgpu
                .to_type()
                .ok_or(RestoreError::Unsound { part })
        });
        let vgpu = vgpu.map_err(RestoreDeviceError::Saved)?;
        let device = self.create_device(&vgpu, name);
        let device = device.map_err(RestoreDeviceError::Create)?;
        if let Err(error) = device.restore_state(saved) {
            // It is nobody's yet, so nothing but its end can be.
            let _ = self.destroy(device.instance().id());
            return Err(RestoreDeviceError::Saved(error));
        }
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

    /// Destroys an instance, unless its device is [open](VgpuDevice::open): no event of its is
    /// signalled after return, whoever still holds it, its device or its producers. Waits for vblanks
    /// under way; must not be called by an observer.
    ///
    /// # Errors
    ///
    /// See [`DestroyError`].
    pub fn destroy(&self, id: InstanceId) -> Result<(), DestroyError> {
        if let Some(device) = self.device(id) {
            device.retire().map_err(|_| DestroyError::InUse { id })?;
        }
        // Of two at once only one gets on.
        let (_, instance) = self
            .instances
            .remove(&id)
            .ok_or(DestroyError::Unknown { id })?;
        self.devices.remove(&id);
        self.uuids.retain(|_, known| *known != Some(id));
        instance.retire();
        tracing::debug!(name = instance.name(), "destroyed");
        Ok(())
    }

    /// Destroys the device of a UUID, likewise.
    ///
    /// # Errors
    ///
    /// See [`DestroyError`].
    pub fn destroy_uuid(&self, uuid: VgpuUuid) -> Result<(), DestroyError> {
        let device = self.find(uuid);
        let device = device.ok_or(DestroyError::UnknownUuid { uuid })?;
        self.destroy(device.instance().id())
    }

    /// The device of that UUID.
    #[must_use]
    pub fn find(&self, uuid: VgpuUuid) -> Option<Arc<VgpuDevice>> {
        // Copied, so that no guard is held over the look at the other map.
        let id = (*self.uuids.get(&uuid)?)?;
        self.device(id)
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
mod tests;
