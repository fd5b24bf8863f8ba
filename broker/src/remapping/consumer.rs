//! A message of a device behind a guest's remapping unit, as consumer.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker_core::Bypass;
use irqbroker_core::BypassRefused;
use irqbroker_core::Consumer;
use irqbroker_core::ConsumerInfo;
use irqbroker_core::LinkId;
use irqbroker_core::MsiMessage;
use irqbroker_core::PeerError;
use irqbroker_core::Prepared;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Reason;
use irqbroker_core::Retarget;
use irqbroker_core::Rid;
use irqbroker_core::RouteDomain;
use irqbroker_core::RouteInfo;
use irqbroker_core::Token;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::MessageRefused;
use irqbroker_kvm::MsiConsumer;
use posted_irq::Delivery;
use posted_irq::LinkKey;
use posted_irq::MessageIds;
use posted_irq::Msi;
use posted_irq::SourceId;
use posted_irq::Translation;

use super::GuestRemapper;
use super::RemappingUnit;
use super::Undeliverable;

/// Where a message leads that has no translation yet. Nothing is delivered by it.
const NOWHERE: MsiMessage = MsiMessage {
    address: 0xfee0_0000,
    data: 0,
};

/// A message of a device behind a guest's remapping unit.
///
/// While it is cached `inner` has the message that the guest's tables translate it to.
pub struct RemappedMsi<R: GuestRemapper> {
    unit: Arc<RemappingUnit<R>>,
    key: LinkKey,
    device: Rid,
    inner: Arc<MsiConsumer>,
    /// As the guest wrote it. A leaf lock.
    message: Mutex<MsiMessage>,
}

impl<R: GuestRemapper> RemappedMsi<R> {
    pub(super) fn new(
        unit: Arc<RemappingUnit<R>>,
        name: String,
        device: Rid,
        message: MsiMessage,
    ) -> Result<Arc<Self>, MessageRefused> {
        let inner = unit.domain().msi(name, NOWHERE, None)?;
        let consumer = Self {
            key: unit.enter(),
            unit,
            device,
            inner,
            message: Mutex::new(message),
        };
        consumer.translate_ahead(message);
        Ok(Arc::new(consumer))
    }

    /// Where its interrupts go while the kernel may deliver them.
    #[must_use]
    pub fn translated(&self) -> Option<MsiMessage> {
        let route = self.inner.route().filter(|_| self.is_cached())?;
        match route {
            RouteInfo::Msi { message, .. } => Some(message),
            RouteInfo::Pin { .. } => None,
        }
    }

    fn is_cached(&self) -> bool {
        self.unit.is_cached(self.key)
    }

    fn message(&self) -> MutexGuard<'_, MsiMessage> {
        // Set in one step.
        self.message.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The message is known and there is no interrupt yet.
    fn translate_ahead(&self, message: MsiMessage) {
        let (source, msi) = self.request(message);
        if let Some(translation) = self.unit.prepare(self.key, source, msi)
            && self.follow(translation).is_err()
        {
            // An interrupt will say so.
            self.unit.drop_translation(self.key);
        }
    }

    fn request(&self, message: MsiMessage) -> (SourceId, Msi) {
        let MsiMessage { address, data } = message;
        (SourceId(self.device.0), Msi { address, data })
    }

    /// Has `inner` deliver by this translation.
    fn follow(&self, translation: Translation) -> Result<(), PeerError> {
        let Msi { address, data } = self.message_of(translation).map_err(PeerError::new)?;
        self.inner.set_message(MsiMessage { address, data })
    }

    fn message_of(&self, translation: Translation) -> Result<Msi, Undeliverable> {
        let ids = match self.unit.domain().capabilities().destination_ids {
            DestinationIds::Bits8 => MessageIds::Bits8,
            DestinationIds::Bits32 => MessageIds::Bits32,
        };
        match translation {
            Translation::Passed(msi) => Ok(msi),
            Translation::Remapped(request) => {
                request.to_msi(ids).map_err(Undeliverable::Destination)
            }
            Translation::Posted { .. } | Translation::GuestMode { .. } => {
                Err(Undeliverable::GuestDescriptor)
            }
        }
    }
}

impl<R: GuestRemapper> Consumer for RemappedMsi<R> {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn registered(&self, link: LinkId) {
        self.unit.linked(self.key, link);
    }

    fn answer(&self, producer: &ProducerInfo) -> ConsumerInfo {
        self.inner.answer(producer)
    }

    fn add_producer(&self, producer: &ProducerInfo, token: &Token) -> Result<(), PeerError> {
        self.inner.add_producer(producer, token)
    }

    fn del_producer(&self) {
        self.inner.del_producer();
    }

    fn inject(&self) -> Result<(), PeerError> {
        let (source, msi) = self.request(*self.message());
        let delivery = self
            .unit
            .deliver(self.key, source, msi)
            .map_err(PeerError::new)?;
        if let Delivery::Translated(translation) = delivery {
            self.follow(translation)
                .inspect_err(|_| self.unit.drop_translation(self.key))?;
        }
        self.inner.inject()
    }

    fn route(&self) -> Option<RouteInfo> {
        Some(RouteInfo::Msi {
            gsi: self.inner.gsi(),
            message: *self.message(),
        })
    }

    fn bypass(&self) -> Option<&dyn Bypass> {
        Some(self)
    }

    fn retarget(&self) -> Option<&dyn Retarget> {
        Some(self)
    }
}

impl<R: GuestRemapper> Bypass for RemappedMsi<R> {
    fn prepare(&self) -> Result<Prepared, BypassRefused> {
        if self.is_cached() {
            Bypass::prepare(&*self.inner)
        } else {
            Err(untranslated())
        }
    }

    fn domain(&self) -> Arc<dyn RouteDomain> {
        Bypass::domain(&*self.inner)
    }

    /// An invalidation that comes after the look at the cache waits for the link's lock, which is
    /// held here, and detaches again.
    fn attach(&self) -> Result<(), BypassRefused> {
        if self.is_cached() {
            Bypass::attach(&*self.inner)
        } else {
            Err(untranslated())
        }
    }

    fn detach(&self) -> Result<(), PeerError> {
        Bypass::detach(&*self.inner)
    }

    fn release(&self) {
        Bypass::release(&*self.inner);
    }

    /// A GSI that could not be had is none of the translation's doing.
    fn has_recovered(&self, from: Reason) -> bool {
        from == Reason::Untranslated && self.is_cached()
    }
}

impl<R: GuestRemapper> Retarget for RemappedMsi<R> {
    fn set_message(&self, message: MsiMessage) -> Result<(), PeerError> {
        *self.message() = message;
        self.translate_ahead(message);
        Ok(())
    }
}

fn untranslated() -> BypassRefused {
    BypassRefused {
        reason: Reason::Untranslated,
        source: None,
    }
}

impl<R: GuestRemapper> Drop for RemappedMsi<R> {
    fn drop(&mut self) {
        self.unit.leave(self.key);
    }
}

impl<R: GuestRemapper> fmt::Debug for RemappedMsi<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemappedMsi")
            .field("name", &self.inner.name())
            .field("device", &self.device)
            .field("message", &*self.message())
            .field("translated", &self.translated())
            .finish_non_exhaustive()
    }
}
