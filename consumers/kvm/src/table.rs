//! The routing table as wanted and as live, without I/O.
//!
//! A GSI's life, with what the kernel has on it:
//!
//! ```text
//!         take                written               give back (last)
//!  free ────────► staged ─────────────────► live ───────────────────► stale
//!   ▲               │ give back (last)       ▲  take of the same route  │ │
//!   ├───────────────┘                        └──────────────────────────┘ │
//!   └─────────────────────────── written, or taken for another route ─────┘
//! ```
//!
//! Equal routes share a GSI. A stale GSI leads where it led until the table is written next, so
//! taking the same route again meanwhile needs no write.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::hash_map;

use irqbroker_core::Gsi;

use crate::embedder::EmbedderRoutes;
use crate::embedder::EmbedderRoutesError;
use crate::route::MsiRoute;
use crate::route::Route;
use crate::route::RouteEntry;

/// Every GSI of the table, or every entry, is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all gsis of a table of {limit} entries are taken")]
pub struct GsiExhausted {
    /// Entries the table can have, the embedder's included.
    pub limit: u32,
}

/// Routes wanted by their users, the embedder's own, and which of them the kernel has.
#[derive(Debug)]
pub(crate) struct RouteTable {
    /// Entries the kernel takes; GSIs are below.
    limit: u32,
    embedder: EmbedderRoutes,
    /// Entries of `embedder`.
    embedder_entries: usize,
    /// Cleared at the start as well: only a write proves what the kernel has.
    embedder_live: bool,
    /// By GSI; grows to the highest GSI ever taken, so to `limit` at most.
    slots: Vec<Slot>,
    /// The GSI of each route that is staged, live or stale.
    by_route: HashMap<MsiRoute, Gsi>,
    /// Free and stale GSIs that were taken before, by the time of their release.
    released: BTreeMap<u64, Gsi>,
    /// The time of the next release.
    clock: u64,
    /// Slots with users.
    taken: u32,
    /// Slots with users that are not live.
    staged: u32,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// `None` while free, and for the embedder's GSIs.
    route: Option<MsiRoute>,
    users: u32,
    /// The kernel has `route` on this GSI.
    live: bool,
    /// Key in `released`, of use without users only.
    released_at: u64,
}

impl Slot {
    const FREE: Self = Self {
        route: None,
        users: 0,
        live: false,
        released_at: 0,
    };
}

impl RouteTable {
    /// A table of `limit` entries with nothing taken.
    pub(crate) fn new(limit: u32, embedder: EmbedderRoutes) -> Self {
        let embedder_entries = embedder.entries().count();
        Self {
            limit,
            embedder_live: embedder_entries == 0,
            embedder_entries,
            embedder,
            slots: Vec::new(),
            by_route: HashMap::new(),
            released: BTreeMap::new(),
            clock: 0,
            taken: 0,
            staged: 0,
        }
    }

    /// Makes room for `count` routes more, as far as the limit leaves any: a table that grows as it is
    /// filled hashes each route twice over.
    pub(crate) fn reserve(&mut self, count: usize) {
        let left = index(Gsi(self.limit)).saturating_sub(self.by_route.len());
        self.by_route.reserve(count.min(left));
        let left = index(Gsi(self.limit)).saturating_sub(self.slots.len());
        self.slots.reserve(count.min(left));
    }

    /// Makes the caller a user of `route`, on the GSI it has or on a new one.
    ///
    /// # Errors
    ///
    /// No GSI, or no entry, is left; nothing is taken.
    pub(crate) fn take(&mut self, route: MsiRoute) -> Result<Gsi, GsiExhausted> {
        let full = GsiExhausted { limit: self.limit };
        let has_room = self.entry_count() < index(Gsi(self.limit));
        let vacant = match self.by_route.entry(route) {
            hash_map::Entry::Occupied(known) => {
                let gsi = *known.get();
                let slot = &mut self.slots[index(gsi)];
                if slot.users == 0 {
                    // Stale entries are not part of the next write, so this makes it longer.
                    if !has_room {
                        return Err(full);
                    }
                    self.released.remove(&slot.released_at);
                    self.taken += 1;
                }
                slot.users += 1;
                return Ok(gsi);
            }
            hash_map::Entry::Vacant(_) if !has_room => return Err(full),
            hash_map::Entry::Vacant(vacant) => vacant,
        };
        let fresh = fresh_gsi(&mut self.slots, &self.embedder, self.limit);
        let gsi = fresh
            .or_else(|| self.released.pop_first().map(|(_, gsi)| gsi))
            .ok_or(full)?;
        vacant.insert(gsi);
        let taken = Slot {
            route: Some(route),
            users: 1,
            ..Slot::FREE
        };
        let before = std::mem::replace(&mut self.slots[index(gsi)], taken);
        if let Some(stale) = before.route {
            self.by_route.remove(&stale);
        }
        self.taken += 1;
        self.staged += 1;
        Ok(gsi)
    }

    /// One user of `gsi` less; the GSI is free after the last.
    pub(crate) fn give_back(&mut self, gsi: Gsi) {
        let Some(slot) = self.slots.get_mut(index(gsi)).filter(|slot| slot.users > 0) else {
            debug_assert!(false, "gsi {gsi} has no users");
            return;
        };
        slot.users -= 1;
        if slot.users > 0 {
            return;
        }
        self.taken -= 1;
        slot.released_at = self.clock;
        self.released.insert(self.clock, gsi);
        self.clock += 1;
        if !slot.live {
            self.staged -= 1;
            if let Some(abandoned) = slot.route.take() {
                self.by_route.remove(&abandoned);
            }
        }
    }

    /// Whether the kernel has what this GSI was taken for.
    pub(crate) fn is_live(&self, gsi: Gsi) -> bool {
        let slot = self.slots.get(index(gsi));
        slot.is_some_and(|slot| slot.live && slot.users > 0)
    }

    /// Whether the kernel has the embedder's routes.
    pub(crate) fn is_embedder_live(&self) -> bool {
        self.embedder_live
    }

    /// Whether these fit beside what is taken.
    pub(crate) fn check_room(&self, embedder: &EmbedderRoutes) -> Result<(), EmbedderRoutesError> {
        let entries = embedder.entries().count() + index(Gsi(self.taken));
        if entries > index(Gsi(self.limit)) {
            let limit = self.limit;
            return Err(EmbedderRoutesError::TooMany { entries, limit });
        }
        Ok(())
    }

    /// The embedder's routes from now on, on the GSIs it has.
    pub(crate) fn replace_embedder(&mut self, embedder: EmbedderRoutes) {
        debug_assert!(self.embedder.gsis().eq(embedder.gsis()));
        self.embedder_live &= self.embedder == embedder;
        self.embedder_entries = embedder.entries().count();
        self.embedder = embedder;
    }

    /// Whether a wanted entry is not live.
    fn needs_write(&self) -> bool {
        self.staged > 0 || !self.embedder_live
    }

    /// The first GSI whose route is wanted and not live.
    pub(crate) fn first_staged(&self) -> Option<Gsi> {
        if !self.needs_write() {
            return None;
        }
        let leased = self.leased().find(|(_, slot)| !slot.live);
        let embedder = || (!self.embedder_live).then(|| self.embedder.gsis().next());
        leased.map(|(gsi, _)| gsi).or_else(|| embedder().flatten())
    }

    /// Entries of the next write.
    pub(crate) fn entry_count(&self) -> usize {
        self.embedder_entries + index(Gsi(self.taken))
    }

    /// Appends the entries of the next write to `table`.
    pub(crate) fn entries(&self, table: &mut Vec<RouteEntry>) {
        table.reserve(self.entry_count());
        table.extend(self.embedder.entries());
        table.extend(self.leased().filter_map(|(gsi, slot)| {
            slot.route.map(|route| RouteEntry {
                gsi,
                target: Route::Msi(route),
            })
        }));
    }

    /// The kernel has taken the entries: what is wanted is live, what was stale is gone.
    pub(crate) fn written(&mut self) {
        for slot in &mut self.slots {
            if slot.users > 0 {
                slot.live = true;
            } else if let Some(stale) = slot.route.take() {
                self.by_route.remove(&stale);
                slot.live = false;
            }
        }
        self.staged = 0;
        self.embedder_live = true;
    }

    pub(crate) fn embedder(&self) -> &EmbedderRoutes {
        &self.embedder
    }

    /// GSIs with users.
    pub(crate) fn taken(&self) -> u32 {
        self.taken
    }

    fn leased(&self) -> impl Iterator<Item = (Gsi, &Slot)> {
        (0..)
            .map(Gsi)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.users > 0)
    }
}

/// A GSI that was never taken, which has a slot from now on.
fn fresh_gsi(slots: &mut Vec<Slot>, embedder: &EmbedderRoutes, limit: u32) -> Option<Gsi> {
    loop {
        let fresh = u32::try_from(slots.len()).ok().map(Gsi)?;
        if fresh.0 >= limit {
            return None;
        }
        slots.push(Slot::FREE);
        if !embedder.owns(fresh) {
            return Some(fresh);
        }
    }
}

fn index(gsi: Gsi) -> usize {
    // Widening on every target Linux has; `u32` is no `Into<usize>` because of 16-bit ones.
    usize::try_from(gsi.0).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
