//! Which links go by which entry, so that an invalidation touches those and no others.

use std::collections::BTreeSet;
use std::collections::HashMap;

use crate::ids::LinkKey;
use crate::remapper::CacheKey;
use crate::remapper::Translation;

/// Translations in use, by link and by the entry they came from.
///
/// An invalidation costs a search and one step for each link it touches, however many there are.
#[derive(Debug, Clone, Default)]
pub struct RemapCache {
    by_link: HashMap<LinkKey, (CacheKey, Translation)>,
    by_key: BTreeSet<(CacheKey, LinkKey)>,
}

impl RemapCache {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes by what a link goes from now on.
    pub fn insert(&mut self, link: LinkKey, key: CacheKey, translation: Translation) {
        self.remove(link);
        self.by_link.insert(link, (key, translation));
        self.by_key.insert((key, link));
    }

    /// By what a link goes.
    #[must_use]
    pub fn get(&self, link: LinkKey) -> Option<&Translation> {
        self.by_link.get(&link).map(|(_, translation)| translation)
    }

    /// Forgets a link.
    pub fn remove(&mut self, link: LinkKey) -> Option<Translation> {
        let (key, translation) = self.by_link.remove(&link)?;
        self.by_key.remove(&(key, link));
        Some(translation)
    }

    /// Forgets the links whose keys are of this range, or all, and names them.
    pub fn invalidate(&mut self, keys: Option<(CacheKey, CacheKey)>) -> Vec<LinkKey> {
        let Some((first, last)) = keys else {
            self.by_key.clear();
            return self.by_link.drain().map(|(link, _)| link).collect();
        };
        let range = (first, LinkKey(0))..=(last, LinkKey(u32::MAX));
        let touched: Vec<_> = self.by_key.range(range).copied().collect();
        for (key, link) in &touched {
            self.by_key.remove(&(*key, *link));
            self.by_link.remove(link);
        }
        touched.into_iter().map(|(_, link)| link).collect()
    }

    /// How many links have a translation.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_link.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_link.is_empty()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
