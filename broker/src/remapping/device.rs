//! A device behind a remapping unit, whichever make the unit is of.

use std::fmt;
use std::sync::Arc;

use irqbroker_core::Consumer;
use irqbroker_core::MsiMessage;
use irqbroker_core::Registry;
use irqbroker_core::Rid;
use irqbroker_kvm::MessageRefused;
use irqbroker_kvm::VmDomain;

use super::GuestRemapper;
use super::RemappingUnit;

/// A device behind a remapping unit, whichever make the unit is of.
#[derive(Debug, Clone)]
pub struct RemappedDevice {
    unit: Arc<dyn Unit>,
    id: Rid,
}

impl<R: GuestRemapper> RemappingUnit<R> {
    /// The device whose requests carry this source-id, the one that the guest knows it by.
    pub fn device(self: &Arc<Self>, id: Rid) -> RemappedDevice {
        let unit = Arc::<Self>::clone(self);
        RemappedDevice { unit, id }
    }
}

impl RemappedDevice {
    /// Its source-id.
    #[must_use]
    pub fn id(&self) -> Rid {
        self.id
    }

    /// A consumer for one of its messages, as [`RemappingUnit::msi`].
    ///
    /// # Errors
    ///
    /// The VM takes no messages at all.
    pub fn msi(
        &self,
        name: impl Into<String>,
        message: MsiMessage,
    ) -> Result<Arc<dyn Consumer>, MessageRefused> {
        Arc::clone(&self.unit).message(name.into(), self.id, message)
    }

    /// Whether the unit's messages go into `domain`, and its links are looked for in `registry`.
    #[must_use]
    pub fn is_of(&self, registry: &Registry, domain: &Arc<VmDomain>) -> bool {
        self.unit.is_of(registry, domain)
    }
}

/// A unit of any make.
trait Unit: fmt::Debug + Send + Sync {
    fn message(
        self: Arc<Self>,
        name: String,
        device: Rid,
        message: MsiMessage,
    ) -> Result<Arc<dyn Consumer>, MessageRefused>;

    fn is_of(&self, registry: &Registry, domain: &Arc<VmDomain>) -> bool;
}

impl<R: GuestRemapper> Unit for RemappingUnit<R> {
    fn message(
        self: Arc<Self>,
        name: String,
        device: Rid,
        message: MsiMessage,
    ) -> Result<Arc<dyn Consumer>, MessageRefused> {
        Ok(self.msi(name, device, message)?)
    }

    fn is_of(&self, registry: &Registry, domain: &Arc<VmDomain>) -> bool {
        self.registry() == registry && Arc::ptr_eq(self.domain(), domain)
    }
}
