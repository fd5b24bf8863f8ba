//! One remapping unit of a guest: its set-up, its cache, and the links behind it.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker_core::LinkError;
use irqbroker_core::LinkId;
use irqbroker_core::MsiMessage;
use irqbroker_core::Reason;
use irqbroker_core::Registry;
use irqbroker_core::Rid;
use irqbroker_kvm::MessageRefused;
use irqbroker_kvm::VmDomain;
use posted_irq::Delivery;
use posted_irq::GuestMemory;
use posted_irq::LinkKey;
use posted_irq::Msi;
use posted_irq::Remapper;
use posted_irq::Remapping;
use posted_irq::SourceId;
use posted_irq::Translation;

use super::InvalidateError;
use super::RemappedMsi;

/// A make of remapping unit: [`VtdRemapper`](super::VtdRemapper) or
/// [`AmdRemapper`](super::AmdRemapper).
pub trait GuestRemapper:
    Remapper<Fault: Error + Send + Sync + 'static> + fmt::Debug + Send + 'static
{
}

impl<R> GuestRemapper for R where
    R: Remapper<Fault: Error + Send + Sync + 'static> + fmt::Debug + Send + 'static
{
}

type RecordFault<F> = Box<dyn Fn(&F) + Send + Sync>;

/// A guest's remapping unit and the links behind it.
pub struct RemappingUnit<R: GuestRemapper> {
    /// Where the links behind it are registered.
    registry: Registry,
    domain: Arc<VmDomain>,
    memory: Box<dyn GuestMemory + Send + Sync>,
    faults: RecordFault<R::Fault>,
    /// Taken in callbacks, under a link's lock, and before none. Guest memory is read under it: what
    /// an invalidation does not find cached was read after it.
    cache: Mutex<Cache<R>>,
}

struct Cache<R> {
    remapping: Remapping<R>,
    members: HashMap<LinkKey, Member>,
    /// Keys given back, and the lowest never used.
    free: Vec<LinkKey>,
    unused: u32,
}

/// A consumer behind the unit.
#[derive(Debug, Clone, Copy, Default)]
struct Member {
    link: Option<LinkId>,
    /// The kernel may deliver it.
    cached: bool,
}

/// What an invalidation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use = "zero links is an answer, an error is not to be overlooked"]
pub struct Invalidated {
    /// Links whose translation is forgotten, each off the kernel now.
    pub links: usize,
}

impl<R: GuestRemapper> RemappingUnit<R> {
    /// A unit set up like this, for messages that go into `domain` and links in `registry`.
    ///
    /// `faults` is called when an interrupt is refused, on the thread that relays it and under its
    /// link's lock: it records, and must call neither the registry nor a manager.
    pub fn new(
        registry: Registry,
        domain: Arc<VmDomain>,
        remapper: R,
        memory: impl GuestMemory + Send + Sync + 'static,
        faults: impl Fn(&R::Fault) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            registry,
            domain,
            memory: Box::new(memory),
            faults: Box::new(faults),
            cache: Mutex::new(Cache {
                remapping: Remapping::new(remapper),
                members: HashMap::new(),
                free: Vec::new(),
                unused: 0,
            }),
        })
    }

    /// A consumer for a message that the guest gave the device with this id, which is the one that
    /// the guest knows: a VFIO function's requester id on the host is another. Whatever the message
    /// is, an interrupt will tell; register it with the unit's registry.
    ///
    /// # Errors
    ///
    /// The VM takes no messages at all.
    pub fn msi(
        self: &Arc<Self>,
        name: impl Into<String>,
        device: Rid,
        message: MsiMessage,
    ) -> Result<Arc<RemappedMsi<R>>, MessageRefused> {
        RemappedMsi::new(Arc::clone(self), name.into(), device, message)
    }

    /// The guest says which entries it has changed. After return no interrupt goes by what they
    /// said before; links that do not go by them are not touched.
    ///
    /// # Errors
    ///
    /// See [`InvalidateError`].
    pub fn invalidate(
        &self,
        invalidation: R::Invalidation,
    ) -> Result<Invalidated, InvalidateError> {
        let mut cache = self.cache();
        let named = cache.remapping.invalidate(invalidation);
        let links = cache.forget(&named);
        drop(cache);
        self.demote(&links, named.len())
    }

    /// The guest has set the unit up anew: nothing is cached any more.
    ///
    /// # Errors
    ///
    /// See [`InvalidateError`].
    pub fn reconfigure(&self, remapper: R) -> Result<Invalidated, InvalidateError> {
        let mut cache = self.cache();
        let named = cache.remapping.reconfigure(remapper);
        let links = cache.forget(&named);
        drop(cache);
        self.demote(&links, named.len())
    }

    /// How many links the kernel may deliver.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.cache().remapping.cached()
    }

    /// Waits for whoever delivers by an old translation, by each link's lock.
    fn demote(&self, links: &[LinkId], named: usize) -> Result<Invalidated, InvalidateError> {
        let mut first = None;
        for &link in links {
            match self.registry.demote(link, Reason::Untranslated) {
                // It has gone meanwhile, and its irqfd with it.
                Ok(()) | Err(LinkError::Stale { .. }) => {}
                Err(source) => {
                    tracing::warn!(%link, error = &source as &dyn Error, "not taken off the kernel");
                    first.get_or_insert(InvalidateError { link, source });
                }
            }
        }
        first.map_or(Ok(Invalidated { links: named }), Err)
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn domain(&self) -> &Arc<VmDomain> {
        &self.domain
    }

    pub(super) fn enter(&self) -> LinkKey {
        let mut cache = self.cache();
        let key = cache.free.pop().unwrap_or_else(|| {
            let key = LinkKey(cache.unused);
            cache.unused += 1;
            key
        });
        cache.members.insert(key, Member::default());
        key
    }

    pub(super) fn leave(&self, key: LinkKey) {
        let mut cache = self.cache();
        cache.remapping.remove(key);
        cache.members.remove(&key);
        cache.free.push(key);
    }

    pub(super) fn linked(&self, key: LinkKey, link: LinkId) {
        if let Some(member) = self.cache().members.get_mut(&key) {
            member.link = Some(link);
        }
    }

    pub(super) fn is_cached(&self, key: LinkKey) -> bool {
        let cache = self.cache();
        cache.members.get(&key).is_some_and(|member| member.cached)
    }

    /// The kernel cannot have this link's translation.
    pub(super) fn drop_translation(&self, key: LinkKey) {
        let mut cache = self.cache();
        cache.remapping.remove(key);
        cache.set_cached(key, false);
    }

    /// Before there is an interrupt: a fault is none yet.
    pub(super) fn prepare(&self, key: LinkKey, source: SourceId, msi: Msi) -> Option<Translation> {
        let mut cache = self.cache();
        let translation = cache.remapping.prepare(key, &*self.memory, source, msi);
        cache.set_cached(key, translation.is_some());
        translation
    }

    /// For an interrupt that has come, which the fault is recorded for.
    pub(super) fn deliver(
        &self,
        key: LinkKey,
        source: SourceId,
        msi: Msi,
    ) -> Result<Delivery, R::Fault> {
        let mut cache = self.cache();
        let delivery = cache.remapping.deliver(key, &*self.memory, source, msi);
        cache.set_cached(key, delivery.is_ok());
        drop(cache);
        delivery.inspect_err(|fault| (self.faults)(fault))
    }

    fn cache(&self) -> MutexGuard<'_, Cache<R>> {
        // The embedder's memory may have panicked while it was read: nothing was half changed then.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Cache<R> {
    /// Marks the members as not cached, and names those that are links.
    fn forget(&mut self, named: &[LinkKey]) -> Vec<LinkId> {
        let members = &mut self.members;
        let links = named.iter().filter_map(|key| {
            let member = members.get_mut(key)?;
            member.cached = false;
            member.link
        });
        links.collect()
    }

    fn set_cached(&mut self, key: LinkKey, cached: bool) {
        if let Some(member) = self.members.get_mut(&key) {
            member.cached = cached;
        }
    }
}

impl<R: GuestRemapper> fmt::Debug for RemappingUnit<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cache = self.cache();
        f.debug_struct("RemappingUnit")
            .field("remapper", cache.remapping.remapper())
            .field("links", &cache.members.len())
            .field("cached", &cache.remapping.cached())
            .finish_non_exhaustive()
    }
}
