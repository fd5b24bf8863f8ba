//! The manager, as the VMM holds it.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Instant;

use irqbroker_core::DeviceId;
use irqbroker_core::Gsi;
use irqbroker_core::Options;
use irqbroker_core::PathPolicy;
use irqbroker_core::Registry;
use irqbroker_core::Serviced;
use irqbroker_core::Wait;
use irqbroker_kvm::VmDomain;
use irqbroker_vfio::pci::IntxSource;
use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::PciInterrupts;
use irqbroker_vfio::pci::PciInterruptsLayout;

use crate::manager::alarm::Alarm;
use crate::manager::error::AddDeviceError;
use crate::manager::error::ManagerError;
use crate::manager::error::RestoreManagerError;
use crate::manager::error::ServiceFailed;
use crate::manager::explain::Explanation;
use crate::manager::function::Function;
use crate::manager::function::Messages;
use crate::manager::handle::DeviceHandle;
use crate::manager::options::ManagerOptions;
use crate::manager::saved::SavedManager;
use crate::manager::shared::Shared;
use crate::manager::source::DeviceSource;
use crate::remapping::RemappedDevice;

/// The interrupts of one VM's PCI devices, from the guest's registers to the kernel's shortcut.
///
/// Starts no threads: whatever the kernel does not deliver is done by [`service`](Self::service),
/// which one thread calls whenever [`poll_fd`](Self::poll_fd) is readable. Everything else may be
/// called from any thread. Clones are the same manager.
#[derive(Debug, Clone)]
pub struct Manager {
    shared: Arc<Shared>,
}

/// What a device is, besides where its interrupts come from.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeviceShape {
    /// Which interrupts it has, and where the guest finds their registers.
    pub layout: PciInterruptsLayout,
    /// The id its messages carry, where the interrupt controller wants one (arm64 ITS).
    pub device_id: Option<DeviceId>,
}

impl Manager {
    /// A manager of the VM behind `domain`.
    ///
    /// # Errors
    ///
    /// See [`ManagerError`].
    pub fn new(domain: Arc<VmDomain>, options: ManagerOptions) -> Result<Self, ManagerError> {
        let registry = Registry::with_options(Options {
            promotion: options.promotion,
            path: PathPolicy::Auto,
        })?;
        let alarm = Alarm::new(&registry).map_err(ManagerError::Timer)?;
        let shared = Arc::new(Shared::new(registry, domain, options, alarm));
        Ok(Self { shared })
    }

    /// The registry of all vectors, for links of other kinds, for snapshots and for events.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Adds a function after a reset. Costs the host nothing until the guest enables something.
    ///
    /// # Errors
    ///
    /// See [`AddDeviceError`]; it is not added.
    pub fn add_device(
        &self,
        name: impl Into<String>,
        source: DeviceSource,
        shape: DeviceShape,
    ) -> Result<DeviceHandle, AddDeviceError> {
        let device_id = shape.device_id;
        self.add(name.into(), source, shape, Messages::Vm { device_id })
    }

    /// Adds a function behind a guest's remapping unit, whose registry is this manager's: its
    /// messages are looked up in the guest's tables under the source-id of `device`. Its line is
    /// as without, and the shape's device id is not asked for.
    ///
    /// The embedder reports the guest's invalidations to the unit. Before a restore, it sets the
    /// unit up as it was.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use irqbroker::Rid;
    /// use irqbroker::kvm::VmDomain;
    /// use irqbroker::manager::{AddDeviceError, DeviceHandle, DeviceShape, DeviceSource, Manager};
    /// use irqbroker::remapping::{GuestMemory, RemappingUnit, VtdFault, VtdRemapper};
    ///
    /// fn behind_a_unit(
    ///     manager: &Manager,
    ///     domain: Arc<VmDomain>,
    ///     set_up: VtdRemapper,
    ///     memory: impl GuestMemory + Send + Sync + 'static,
    ///     nic: DeviceSource,
    ///     shape: DeviceShape,
    /// ) -> Result<(Arc<RemappingUnit<VtdRemapper>>, DeviceHandle), AddDeviceError> {
    ///     let record = |fault: &VtdFault| eprintln!("{fault}");
    ///     let registry = manager.registry().clone();
    ///     let unit = RemappingUnit::new(registry, domain, set_up, memory, record);
    ///     // The guest knows it as 00:03.0.
    ///     let handle = manager.add_device_behind(unit.device(Rid(3 << 3)), "nic", nic, shape)?;
    ///     Ok((unit, handle))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`AddDeviceError`]; it is not added.
    pub fn add_device_behind(
        &self,
        device: RemappedDevice,
        name: impl Into<String>,
        source: DeviceSource,
        shape: DeviceShape,
    ) -> Result<DeviceHandle, AddDeviceError> {
        let name = name.into();
        // Invalidations look for links in the unit's registry: in another they would miss them.
        if !device.is_of(&self.shared.registry, &self.shared.domain) {
            return Err(AddDeviceError::ForeignUnit { name });
        }
        self.add(name, source, shape, Messages::Remapped(device))
    }

    fn add(
        &self,
        name: String,
        source: DeviceSource,
        shape: DeviceShape,
        messages: Messages,
    ) -> Result<DeviceHandle, AddDeviceError> {
        let told = match source {
            DeviceSource::Vfio(_) => IntxSource::Automasked,
            DeviceSource::Local(_) => IntxSource::Tracked,
        };
        if shape.layout.intx.is_some_and(|intx| intx.source != told) {
            return Err(AddDeviceError::LineSource { name });
        }
        let pci = match PciInterrupts::new(shape.layout) {
            Ok(pci) => pci,
            Err(source) => return Err(AddDeviceError::Layout { name, source }),
        };
        let mut functions = self.shared.functions();
        if functions.contains_key(&name) {
            return Err(AddDeviceError::Duplicate { name });
        }
        let shared = Arc::clone(&self.shared);
        let function = Function::new(name.clone(), shared, source, messages, pci);
        functions.insert(name, Arc::clone(&function));
        Ok(DeviceHandle::new(function))
    }

    /// The guest has served an input of the interrupt controller: the EOI exit of a split irqchip,
    /// or an embedder's own IOAPIC. Every function that asserted it is asked again.
    ///
    /// Not needed with a full in-kernel irqchip.
    pub fn eoi(&self, gsi: Gsi) {
        let asked = self.shared.lines().eoi(gsi);
        for function in asked {
            function.eoi(gsi);
        }
    }

    /// Readable when [`service`](Self::service) has work to do.
    #[must_use]
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.shared.alarm.as_fd()
    }

    /// One round: what the relay has to forward, promotions that are due, and now and then a look
    /// at rates, faults and lines.
    ///
    /// # Errors
    ///
    /// The wait failed for good; what had been reported is done.
    pub fn service(&self, wait: Wait) -> Result<Serviced, ServiceFailed> {
        let shared = &self.shared;
        let serviced = shared.registry.service(self.bounded(wait))?;
        let asserted = {
            let mut asserted = shared
                .asserted
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *asserted)
        };
        for function in asserted.iter().filter_map(std::sync::Weak::upgrade) {
            function.assert_line();
        }
        shared.look(Instant::now());
        Ok(serviced)
    }

    /// Makes a thread that waits in [`service`](Self::service) return.
    pub fn wake(&self) {
        self.shared.registry.wake();
    }

    /// Looks now at what [`service`](Self::service) looks at every [interval]: rates, faults and
    /// lines, `now` being the time it takes rates by. An embedder whose clock is ahead of ours may
    /// say so: no later look goes by an earlier time.
    ///
    /// [interval]: ManagerOptions::interval
    pub fn look(&self, now: Instant) {
        self.shared.look_at_all(now);
    }

    /// What the guest has set and what is pending, of all devices.
    #[must_use]
    pub fn save(&self) -> SavedManager {
        self.shared.save()
    }

    /// Takes saved state over, all devices with one commit of routes. The same devices must have
    /// been added.
    ///
    /// # Errors
    ///
    /// See [`RestoreManagerError`]; everything is as it was.
    pub fn restore(&self, saved: &SavedManager) -> Result<(), RestoreManagerError> {
        self.shared.restore(saved)
    }

    /// Which way a device's vector takes, and why not a better one.
    #[must_use]
    pub fn explain(&self, device: &str, vector: MessageSource) -> Option<Explanation> {
        let function = self.shared.functions().get(device).cloned();
        function.map(|function| function.explain(vector))
    }

    /// `wait`, but not beyond what is due.
    fn bounded(&self, wait: Wait) -> Wait {
        let Some(due) = self.shared.alarm.next() else {
            return wait;
        };
        let left = due.saturating_duration_since(Instant::now());
        match wait {
            Wait::No => Wait::No,
            Wait::For(limit) => Wait::For(limit.min(left)),
            Wait::Forever => Wait::For(left),
        }
    }
}
