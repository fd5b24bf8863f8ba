//! What the service loop looks after now and then: rates, storms, faults and stuck lines.
//!
//! Vectors that found no GSI are relayed, and counted there. Where the table has room again, or
//! one of them fires more often than a vector that has a GSI, they get one: masked vectors make
//! room first, then those that fired least when they were measured last. What the kernel delivers
//! is not counted, so its rate fades, and a vector that had to make room without need soon wins a
//! GSI back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use irqbroker_core::Consumer;
use irqbroker_core::DeliveryState;
use irqbroker_core::Event;
use irqbroker_core::LinkCounters;
use irqbroker_core::LinkId;
use irqbroker_core::LinkSnapshot;
use irqbroker_core::PathPolicy;
use irqbroker_core::Reason;
use irqbroker_vfio::HostIrq;
use irqbroker_vfio::HostIrqs;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::pci::Level;
use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::VectorIndex;

use crate::manager::function::Function;
use crate::manager::function::State;
use crate::manager::shared::Shared;
use crate::manager::storm::Storm;
use crate::manager::storm::Verdict;
use crate::manager::storm::WINDOW;
use crate::manager::vectors::VectorLink;

/// GSIs that change hands at one look, with one commit.
const SWAPS: usize = 16;
/// How much busier a vector must be than the one it takes the GSI from, as a factor.
const BUSIER: u64 = 2;

/// A vector as far as GSIs go.
struct Candidate {
    link: LinkId,
    msi: Arc<dyn Consumer>,
    per_second: u64,
    masked: bool,
}

/// What a look found.
#[derive(Default)]
struct Found {
    /// What the host has counted.
    counts: HostIrqs,
    /// Relayed for want of a GSI.
    short: Vec<Candidate>,
    /// With a GSI.
    placed: Vec<Candidate>,
    stormy: bool,
}

impl Shared {
    /// Looks after what is due; cheap while nothing is.
    pub(super) fn look(&self, now: Instant) {
        let short = self.events.try_iter().filter(|event| match event {
            Event::Delivery { to, .. } => matches!(to.reason, Reason::GsiExhausted { .. }),
            Event::Lagged(_) => true,
            _ => false,
        });
        if short.count() > 0 || self.options.storm.is_some() {
            self.look_again();
        }
        if self.stormy.load(Ordering::Relaxed) {
            for function in self.all_functions() {
                function.hold_down();
            }
        }
        if self.alarm.take(now) {
            self.look_at_all(now);
        }
    }

    /// Looks at all there is.
    pub(super) fn look_at_all(&self, now: Instant) {
        let now = self.time(now);
        let counts = self.options.counts.as_ref();
        let mut found = Found {
            counts: counts.map(|counts| counts.read()).unwrap_or_default(),
            ..Found::default()
        };
        for function in self.all_functions() {
            function.retry();
            function.look_at_line(now, &found.counts);
            function.look_at_vectors(now, &mut found);
        }
        self.stormy.store(found.stormy, Ordering::Relaxed);
        if found.stormy {
            self.look_after(WINDOW);
        }
        if !found.short.is_empty() {
            self.place(found);
            self.look_again();
        }
    }

    /// Gives GSIs to those that fire most.
    fn place(&self, found: Found) {
        let Found {
            mut short,
            mut placed,
            ..
        } = found;
        short.sort_by_key(|candidate| std::cmp::Reverse(candidate.per_second));
        // The last one makes room first.
        placed
            .sort_by_key(|candidate| std::cmp::Reverse((!candidate.masked, candidate.per_second)));
        let mut ready = Vec::new();
        for candidate in short {
            if ready.len() == SWAPS {
                break;
            }
            if self.make_room(&candidate, &mut placed) {
                ready.push(candidate);
            }
        }
        if ready.is_empty() {
            return;
        }
        // One commit for all of them, under no link's lock.
        if let Err(error) = self.domain.commit_routes() {
            tracing::warn!(%error, "no route for those that were short of one");
        }
        for Candidate { link, .. } in ready {
            let path = self.registry.set_path(link, PathPolicy::Auto);
            if let Err(error) = path.and_then(|()| self.registry.promote(link)) {
                tracing::debug!(%link, %error, "gone meanwhile");
            }
        }
    }

    /// Whether the vector has a GSI now, one of the others' if need be.
    fn make_room(&self, candidate: &Candidate, placed: &mut Vec<Candidate>) -> bool {
        while let Err(refused) = candidate.prepare() {
            // Room would not help a vector that the guest's tables have no translation for.
            if !matches!(refused, Reason::GsiExhausted { .. }) {
                return false;
            }
            let Some(other) = placed.last() else {
                return false;
            };
            let quieter = other.per_second.saturating_mul(BUSIER) < candidate.per_second;
            if !(other.masked || quieter) {
                return false;
            }
            let limit = self.domain.capabilities().kernel.max_routes;
            let outpaced = PathPolicy::RelayFor(Reason::Outpaced { limit });
            if let Some(other) = placed.pop()
                && self.registry.set_path(other.link, outpaced).is_ok()
            {
                other.release();
            }
        }
        true
    }
}

impl Function {
    /// Whether the line is served, and tells what is wrong through its link or its explanation.
    fn look_at_line(&self, now: Instant, counts: &HostIrqs) {
        let mut state = self.state();
        if state.line.is_forwarded() {
            return self.look_at_forwarded_line(now, &mut state, counts);
        }
        let driven = state.pci.intx().is_some_and(|intx| intx.driven().is_some());
        let changed = state
            .line
            .serving
            .look(now, driven, &self.shared.options.line);
        if let (Some(trouble), Some(link)) = (changed, state.line.link()) {
            let path = trouble.map_or(PathPolicy::Auto, PathPolicy::RelayFor);
            if let Some(reason) = trouble {
                tracing::warn!(device = self.name, %reason, "line in trouble");
            }
            if let Err(error) = self.shared.registry.set_path(link.link(), path) {
                tracing::warn!(device = self.name, %error, "line cannot tell");
            }
        }
        let asserted = state.pci.intx().map(|intx| intx.level()) == Some(Level::Asserted);
        if (driven && asserted) || state.line.serving.trouble().is_some() {
            self.shared.look_again();
        }
    }

    /// The same for a line whose EOIs go to the device past us. Its source masks itself with each
    /// interrupt, so that all the host has counted but the last one have been ended.
    fn look_at_forwarded_line(&self, now: Instant, state: &mut State, counts: &HostIrqs) {
        let count = HostIrq::of(&self.name, IrqIndex::INTX, 0).and_then(|irq| counts.count(&irq));
        if let Some(count) = count {
            // The device is asked only while it gets nowhere.
            let moves = state.line.serving.ended(count);
            let waits = moves || self.waits_for_eoi(state);
            let limits = &self.shared.options.line;
            if let Some(Some(reason)) = state.line.serving.look(now, waits, limits) {
                tracing::warn!(device = self.name, %reason, "line in trouble");
            }
        }
        self.watch_forwarded_line();
    }

    fn look_at_vectors(&self, now: Instant, found: &mut Found) {
        let mut state = self.state();
        let state = &mut *state;
        let msi = state
            .msi
            .links()
            .map(|(vector, source, link)| (MessageSource::Msi(VectorIndex(vector)), source, link));
        let msix = state
            .msix
            .links()
            .map(|(vector, source, link)| (MessageSource::Msix(VectorIndex(vector)), source, link));
        for (vector, source, link) in msi.chain(msix) {
            let Ok(snapshot) = self.shared.registry.link(link.consumer.link()) else {
                continue;
            };
            let relayed = snapshot.delivery.state == DeliveryState::Relay || link.storm.is_some();
            let counted = || {
                self.shared.options.counts.as_ref()?;
                let (index, VectorIndex(vector)) = match vector {
                    MessageSource::Msi(vector) => (IrqIndex::MSI, vector),
                    MessageSource::Msix(vector) => (IrqIndex::MSIX, vector),
                };
                let irq = HostIrq::of(&self.name, index, vector.into())?;
                found.counts.count(&irq)
            };
            let per_second = match source.signalled().or_else(counted) {
                Some(count) => link.meter.measure(now, count),
                None if relayed => link.meter.measure(now, snapshot.counters.claimed),
                None => link.meter.fade(now),
            };
            self.guard(now, link, &snapshot, per_second);
            found.stormy |= link.storm.is_some();
            found.add(link, &snapshot, per_second);
        }
    }

    /// Holds a vector down that fires too often, or lets go of it.
    fn guard(&self, now: Instant, link: &mut VectorLink, snapshot: &LinkSnapshot, per_second: u64) {
        let Some(limit) = self.shared.options.storm else {
            return;
        };
        let registry = &self.shared.registry;
        let relayed = forwarded(&snapshot.counters);
        let done = match &mut link.storm {
            None if per_second <= u64::from(limit) => return,
            None => {
                tracing::warn!(link = %snapshot.id, per_second, "storm");
                link.storm = Some(Storm::new(relayed));
                let storm = PathPolicy::RelayFor(Reason::Storm { limit });
                registry.set_path(snapshot.id, storm)
            }
            Some(storm) => match storm.next_window(now, per_second, relayed, limit) {
                Verdict::LetPass => link.hold_down(false),
                Verdict::Over => {
                    link.storm = None;
                    let passes = link.hold_down(false);
                    passes.and_then(|()| registry.set_path(snapshot.id, PathPolicy::Auto))
                }
            },
        };
        if let Err(error) = done {
            tracing::warn!(link = %snapshot.id, %error, "storm guard");
        }
    }

    /// Keeps the windows of those that are held down.
    pub(super) fn hold_down(&self) {
        let Some(limit) = self.shared.options.storm else {
            return;
        };
        let mut state = self.state();
        let state = &mut *state;
        for (_, _, link) in state.msi.links().chain(state.msix.links()) {
            let Some(storm) = link.storm else { continue };
            let Ok(snapshot) = self.shared.registry.link(link.consumer.link()) else {
                continue;
            };
            if storm.is_window_full(forwarded(&snapshot.counters), limit)
                && let Err(error) = link.hold_down(true)
            {
                tracing::warn!(link = %snapshot.id, %error, "storm guard");
            }
        }
    }
}

impl Candidate {
    fn prepare(&self) -> Result<(), Reason> {
        let bypass = self.msi.bypass().ok_or(Reason::UserSpaceConsumer)?;
        bypass.prepare().map(drop).map_err(|refused| refused.reason)
    }

    fn release(&self) {
        if let Some(bypass) = self.msi.bypass() {
            bypass.release();
        }
    }
}

/// Interrupts that the relay has had work with: one that a guest's tables refuse is as much.
fn forwarded(counters: &LinkCounters) -> u64 {
    counters.relayed + counters.inject_failures
}

impl Found {
    fn add(&mut self, link: &VectorLink, snapshot: &LinkSnapshot, per_second: u64) {
        let candidate = Candidate {
            link: snapshot.id,
            msi: Arc::clone(&link.msi),
            per_second,
            masked: link.is_masked_by_guest(),
        };
        match snapshot.delivery.reason {
            Reason::GsiExhausted { .. } | Reason::Outpaced { .. } => self.short.push(candidate),
            _ if link.gsi().is_some() => self.placed.push(candidate),
            _ => {}
        }
    }
}
