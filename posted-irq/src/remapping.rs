//! Links behind a guest's remapping unit: a translation in use, or one to be made at delivery.
//!
//! ```text
//!              prepare: no fault         ┌────────┐
//!     ┌────────────────────────────────► │ cached │ the kernel may deliver
//!     │                                  └───┬──▲─┘
//!  ┌──┴────────┐   invalidate names it       │  │ deliver: no fault
//!  │ uncached  │ ◄───────────────────────────┘  │
//!  │           ├───────────────────────────────►┘
//!  └──▲──┬─────┘
//!     └──┘ prepare: fault (recorded nowhere), deliver: fault (recorded now)
//! ```
//!
//! An invalidation therefore only takes links off the kernel. The first interrupt after it comes
//! through user space, which translates anew, raises the fault, if it is one, when hardware would,
//! and puts the link back. That is David Woodhouse's proposal for QEMU (qemu-devel, January 2023).

use crate::guest_memory::GuestMemory;
use crate::ids::LinkKey;
use crate::ids::SourceId;
use crate::message::Msi;
use crate::remap_cache::RemapCache;
use crate::remapper::Remapper;
use crate::remapper::Translation;

/// An interrupt on its way through user space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The link was in use all along: a late event of before. Deliver it.
    Cached(Translation),
    /// The link has a translation again. Deliver this one, then let the kernel deliver.
    Translated(Translation),
}

/// A remapping unit with its cache.
#[derive(Debug)]
pub struct Remapping<R> {
    remapper: R,
    cache: RemapCache,
}

impl<R: Remapper> Remapping<R> {
    /// A unit with an empty cache.
    #[must_use]
    pub fn new(remapper: R) -> Self {
        Self {
            remapper,
            cache: RemapCache::new(),
        }
    }

    /// The unit as it is set up.
    #[must_use]
    pub const fn remapper(&self) -> &R {
        &self.remapper
    }

    /// Sets the unit up anew, which drops the cache: the links named have to leave the kernel.
    pub fn reconfigure(&mut self, remapper: R) -> Vec<LinkKey> {
        self.remapper = remapper;
        self.cache.invalidate(None)
    }

    /// A link's message is known or has changed: `Some` if the kernel may deliver it, by this
    /// translation. A fault is not one until there is an interrupt.
    pub fn prepare<M: GuestMemory + ?Sized>(
        &mut self,
        link: LinkKey,
        memory: &M,
        source: SourceId,
        msi: Msi,
    ) -> Option<Translation> {
        self.cache.remove(link);
        self.translate(link, memory, source, msi).ok()
    }

    /// The link's device has raised an interrupt that came to user space.
    ///
    /// # Errors
    ///
    /// The fault, which is to be recorded now; the interrupt is lost, as in hardware.
    pub fn deliver<M: GuestMemory + ?Sized>(
        &mut self,
        link: LinkKey,
        memory: &M,
        source: SourceId,
        msi: Msi,
    ) -> Result<Delivery, R::Fault> {
        match self.cache.get(link) {
            Some(translation) => Ok(Delivery::Cached(*translation)),
            None => self
                .translate(link, memory, source, msi)
                .map(Delivery::Translated),
        }
    }

    /// The guest has changed entries and says so: these links, and only these, have to leave the
    /// kernel until their next interrupt.
    pub fn invalidate(&mut self, invalidation: R::Invalidation) -> Vec<LinkKey> {
        self.cache.invalidate(R::keys(invalidation))
    }

    /// The link goes away.
    pub fn remove(&mut self, link: LinkKey) {
        self.cache.remove(link);
    }

    /// How many links the kernel may deliver.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    fn translate<M: GuestMemory + ?Sized>(
        &mut self,
        link: LinkKey,
        memory: &M,
        source: SourceId,
        msi: Msi,
    ) -> Result<Translation, R::Fault> {
        let (key, translation) = self.remapper.translate(memory, source, msi)?;
        self.cache.insert(link, key, translation);
        Ok(translation)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
