//! The message-signalled interrupts of one capability, joined to sources and routes.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use irqbroker_core::Consumer;
use irqbroker_core::ConsumerHandle;
use irqbroker_core::Gsi;
use irqbroker_core::LinkError;
use irqbroker_core::MsiMessage;
use irqbroker_core::ProducerHandle;
use irqbroker_core::Registry;
use irqbroker_vfio::pci::InterruptKind;

use crate::manager::fault::Fault;
use crate::manager::meter::Meter;
use crate::manager::source::DeviceSource;
use crate::manager::source::Feed;
use crate::manager::source::VectorSource;
use crate::manager::storm::Storm;

/// The vectors of a capability. Changed under their function's lock.
pub(super) struct Vectors {
    kind: InterruptKind,
    /// There while the guest has the capability enabled.
    feed: Option<Feed>,
    bound: BTreeMap<u16, Bound>,
    /// Vectors with an event that outlived its eventfd, or was restored without one.
    kept: BTreeSet<u16>,
    faults: BTreeMap<u16, Arc<Fault>>,
    /// Why the capability is not enabled on the device.
    refused: Option<Arc<Fault>>,
}

/// A vector that has been deliverable since the capability was enabled: what comes before that
/// waits in the device.
pub(super) struct Bound {
    pub(super) source: Arc<dyn VectorSource>,
    pub(super) link: Option<VectorLink>,
}

/// A vector's link. The consumer leaves before the producer.
pub(super) struct VectorLink {
    pub(super) consumer: ConsumerHandle,
    _producer: ProducerHandle,
    pub(super) msi: Arc<dyn Consumer>,
    message: MsiMessage,
    masks: Masks,
    pub(super) meter: Meter,
    pub(super) storm: Option<Storm>,
}

/// Who keeps a vector's interrupts back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Masks {
    pub(super) by_guest: bool,
    pub(super) by_storm_guard: bool,
}

/// What vectors are joined with.
pub(super) struct Joins<'a> {
    pub(super) registry: &'a Registry,
    pub(super) source: &'a DeviceSource,
    pub(super) consumer: &'a dyn NewConsumer,
}

/// Makes the consumer of a vector.
pub(super) trait NewConsumer {
    fn new_consumer(&self, vector: u16, message: MsiMessage) -> Result<Arc<dyn Consumer>, Fault>;
}

impl Vectors {
    pub(super) fn new(kind: InterruptKind) -> Self {
        Self {
            kind,
            feed: None,
            bound: BTreeMap::new(),
            kept: BTreeSet::new(),
            faults: BTreeMap::new(),
            refused: None,
        }
    }

    /// The guest has enabled the capability.
    pub(super) fn enable(&mut self, joins: &Joins<'_>, vectors: u16) {
        if self.feed.is_some() {
            return;
        }
        match joins.source.enable(self.kind, vectors) {
            Ok(feed) => (self.feed, self.refused) = (Some(feed), None),
            Err(fault) => {
                tracing::debug!(kind = ?self.kind, %fault, "not enabled on the device");
                self.refused = Some(Arc::new(fault));
            }
        }
    }

    /// The guest has disabled it. What is pending is kept.
    pub(super) fn disable(&mut self) {
        let bound: Vec<_> = std::mem::take(&mut self.bound)
            .into_iter()
            .map(|(vector, bound)| (vector, bound.source))
            .collect();
        self.faults.clear();
        self.refused = None;
        if let Some(feed) = self.feed.take() {
            self.kept.extend(feed.disable(&bound));
        }
    }

    /// Forgets what is pending: the function was reset.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
    }

    /// These vectors are deliverable from now on.
    pub(super) fn unmask(&mut self, joins: &Joins<'_>, due: &BTreeMap<u16, MsiMessage>) {
        let unbound = due.keys().copied();
        let unbound = unbound.filter(|vector| !self.bound.contains_key(vector));
        let mut refused = BTreeMap::new();
        for run in runs(unbound.collect()) {
            self.bind(run, &mut refused);
        }
        for (&vector, &message) in due {
            let done = match refused.remove(&vector) {
                Some(fault) => Err(fault),
                None => self.open(joins, vector, message),
            };
            self.note(vector, done);
        }
    }

    /// Gives these vectors eventfds: with one request, unless one of them is refused.
    fn bind(&mut self, run: Range<u16>, refused: &mut BTreeMap<u16, Fault>) {
        let Some(feed) = &self.feed else { return };
        let sources = match feed.bind(run.clone()) {
            Ok(sources) => run.zip(sources).collect(),
            Err(fault) if run.len() == 1 => {
                refused.insert(run.start, fault);
                return;
            }
            Err(_) => {
                let one = |vector: u16| match feed.bind(vector..vector + 1) {
                    Ok(source) => source.into_iter().next().map(|source| (vector, source)),
                    Err(fault) => {
                        refused.insert(vector, fault);
                        None
                    }
                };
                run.filter_map(one).collect::<Vec<_>>()
            }
        };
        for (vector, source) in sources {
            self.bound.insert(vector, Bound { source, link: None });
        }
    }

    fn open(&mut self, joins: &Joins<'_>, vector: u16, message: MsiMessage) -> Result<(), Fault> {
        let Some(bound) = self.bound.get_mut(&vector) else {
            return Err(Fault::NotEnabled);
        };
        match &mut bound.link {
            Some(link) => {
                link.set_message(joins.registry, message)?;
                link.unmask()?;
            }
            None => {
                let msi = joins.consumer.new_consumer(vector, message)?;
                bound.link = Some(VectorLink::new(
                    joins.registry,
                    &bound.source,
                    msi,
                    message,
                )?);
            }
        }
        if self.kept.remove(&vector) {
            bound.source.signal();
        }
        Ok(())
    }

    /// The vector is not deliverable any more.
    pub(super) fn mask(&mut self, vector: u16) {
        let masked = self.link(vector).map_or(Ok(()), VectorLink::mask);
        self.note(vector, masked.map_err(Fault::Link));
    }

    /// The vector, which is deliverable, has another message.
    pub(super) fn retarget(&mut self, joins: &Joins<'_>, vector: u16, message: MsiMessage) {
        let done = match self.link(vector) {
            Some(link) => match link.set_message(joins.registry, message) {
                // It may have been refused before, and masked for that.
                Ok(()) => link.unmask().map_err(Fault::Link),
                Err(fault) => {
                    // Not to the old message: it is not the guest's any more.
                    if let Err(error) = link.mask() {
                        tracing::debug!(vector, %error, "fires with its old message");
                    }
                    Err(fault)
                }
            },
            // It was refused before, and is tried with this one.
            None => self.open(joins, vector, message),
        };
        self.note(vector, done);
    }

    /// The vector was restored as pending.
    pub(super) fn resignal(&mut self, vector: u16) {
        match self.bound.get(&vector) {
            Some(bound) if bound.link.is_some() => bound.source.signal(),
            _ => {
                self.kept.insert(vector);
            }
        }
    }

    /// Whether an event waits for the vector, which a look does not change. `None` where it may
    /// wait in the device, the vector having no eventfd.
    pub(super) fn is_pending(&self, registry: &Registry, vector: u16) -> Option<bool> {
        if self.kept.contains(&vector) {
            return Some(true);
        }
        let Some(bound) = self.bound.get(&vector) else {
            return match &self.feed {
                Some(Feed::Vfio(_)) => None,
                Some(feed) => Some(feed.holds_event(vector)),
                None => Some(false),
            };
        };
        let stands = match &bound.link {
            Some(link) => registry.is_pending(link.consumer.link()).unwrap_or(false),
            None => bound.source.token().is_pending().unwrap_or(false),
        };
        Some(stands || bound.source.holds_event())
    }

    pub(super) fn bound(&self, vector: u16) -> Option<&Bound> {
        self.bound.get(&vector)
    }

    pub(super) fn links(
        &mut self,
    ) -> impl Iterator<Item = (u16, &Arc<dyn VectorSource>, &mut VectorLink)> {
        let bound = self.bound.iter_mut();
        bound.filter_map(|(vector, bound)| Some((*vector, &bound.source, bound.link.as_mut()?)))
    }

    pub(super) fn fault(&self, vector: u16) -> Option<&Arc<Fault>> {
        self.faults.get(&vector)
    }

    /// Why something is not served, if anything is.
    pub(super) fn first_fault(&self) -> Option<&Arc<Fault>> {
        self.refused.as_ref().or(self.faults.values().next())
    }

    /// Vectors that may be served if it is tried again.
    pub(super) fn to_retry(&self) -> impl Iterator<Item = u16> {
        let faults = self.faults.iter();
        let passing = faults.filter(|(_, fault)| fault.may_pass());
        passing.map(|(vector, _)| *vector)
    }

    /// Whether anything may be served if it is tried again.
    pub(super) fn wants_retry(&self) -> bool {
        self.refused.is_some() || self.to_retry().next().is_some()
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.feed.is_some()
    }

    fn link(&mut self, vector: u16) -> Option<&mut VectorLink> {
        self.bound.get_mut(&vector)?.link.as_mut()
    }

    fn note(&mut self, vector: u16, done: Result<(), Fault>) {
        match done {
            Ok(()) => {
                self.faults.remove(&vector);
            }
            Err(fault) => {
                // No warning: a guest can have as many of these as it likes.
                tracing::debug!(kind = ?self.kind, vector, %fault, "not served");
                self.faults.insert(vector, Arc::new(fault));
            }
        }
    }
}

impl VectorLink {
    fn new(
        registry: &Registry,
        source: &Arc<dyn VectorSource>,
        msi: Arc<dyn Consumer>,
        message: MsiMessage,
    ) -> Result<Self, Fault> {
        let token = source.token().clone();
        let producer = registry.register_producer(token.clone(), Arc::clone(source) as _)?;
        let consumer = registry.register_consumer(token, Arc::clone(&msi))?;
        Ok(Self {
            consumer,
            _producer: producer,
            msi,
            message,
            masks: Masks::default(),
            meter: Meter::default(),
            storm: None,
        })
    }

    /// The GSI leased now.
    pub(super) fn gsi(&self) -> Option<Gsi> {
        self.msi.route()?.gsi()
    }

    fn mask(&mut self) -> Result<(), LinkError> {
        self.set_masked(Masks {
            by_guest: true,
            ..self.masks
        })
    }

    fn unmask(&mut self) -> Result<(), LinkError> {
        self.set_masked(Masks {
            by_guest: false,
            ..self.masks
        })
    }

    /// Keeps interrupts back for the moment, or no longer, whatever the guest does.
    pub(super) fn hold_down(&mut self, by_storm_guard: bool) -> Result<(), LinkError> {
        self.set_masked(Masks {
            by_storm_guard,
            ..self.masks
        })
    }

    pub(super) fn is_masked_by_guest(&self) -> bool {
        self.masks.by_guest
    }

    fn set_masked(&mut self, masks: Masks) -> Result<(), LinkError> {
        match masks == Masks::default() {
            true => self.consumer.unmask()?,
            false => self.consumer.mask()?,
        }
        self.masks = masks;
        Ok(())
    }

    fn set_message(&mut self, registry: &Registry, message: MsiMessage) -> Result<(), Fault> {
        if self.message != message {
            registry.update_route(self.consumer.link(), message)?;
            self.message = message;
        }
        Ok(())
    }
}

impl fmt::Debug for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vectors")
            .field("kind", &self.kind)
            .field("bound", &self.bound.len())
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

/// Ascending numbers as ranges without holes.
fn runs(numbers: Vec<u16>) -> Vec<Range<u16>> {
    let mut runs: Vec<Range<u16>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.end == number => run.end += 1,
            _ => runs.push(number..number + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_join_neighbours_and_keep_holes() {
        assert_eq!(runs(vec![0, 1, 2, 5, 7, 8]), [0..3, 5..6, 7..9]);
        assert_eq!(runs(vec![]), []);
    }
}
