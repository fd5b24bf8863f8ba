//! What the parts of a manager share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Receiver;
use irqbroker_core::Event;
use irqbroker_core::Registry;
use irqbroker_kvm::VmDomain;

use crate::manager::alarm::Alarm;
use crate::manager::function::Function;
use crate::manager::lines::SharedLines;
use crate::manager::options::ManagerOptions;

/// What the handles and the service loop work on.
pub(super) struct Shared {
    pub(super) registry: Registry,
    pub(super) domain: Arc<VmDomain>,
    pub(super) options: ManagerOptions,
    pub(super) alarm: Alarm,
    /// Tells of links that find no GSI.
    pub(super) events: Receiver<Event>,
    /// Functions whose line has an event that the relay has claimed. A leaf.
    pub(super) asserted: Mutex<Vec<Weak<Function>>>,
    /// A vector is held down. Relaxed: whoever misses it sees it a round later.
    pub(super) stormy: AtomicBool,
    /// The latest time that a look went by. A leaf.
    latest: Mutex<Option<Instant>>,
    /// By name. Nothing is taken inside.
    functions: Mutex<BTreeMap<String, Arc<Function>>>,
    /// Taken under a function's lock, and held across calls of the embedder's driver.
    lines: Mutex<SharedLines>,
}

impl Shared {
    pub(super) fn new(
        registry: Registry,
        domain: Arc<VmDomain>,
        options: ManagerOptions,
        alarm: Alarm,
    ) -> Self {
        Self {
            // One that was missed is marked, and one is enough.
            events: registry.subscribe(2),
            registry,
            domain,
            alarm,
            asserted: Mutex::default(),
            stormy: AtomicBool::new(false),
            latest: Mutex::default(),
            functions: Mutex::default(),
            lines: Mutex::new(SharedLines::new(options.lines.clone())),
            options,
        }
    }

    pub(super) fn functions(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Function>>> {
        self.functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all_functions(&self) -> Vec<Arc<Function>> {
        self.functions().values().cloned().collect()
    }

    pub(super) fn lines(&self) -> MutexGuard<'_, SharedLines> {
        // A panic of the embedder's driver leaves levels that the next change mends.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the kernel forwards levels and their EOIs.
    pub(super) fn has_resample(&self) -> bool {
        self.domain.capabilities().resample_obstacle().is_none()
    }

    /// The time for a look: time does not run backwards, even where the embedder's clock is ahead
    /// of ours.
    pub(super) fn time(&self, now: Instant) -> Instant {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let now = latest.map_or(now, |latest| latest.max(now));
        *latest = Some(now);
        now
    }

    /// Something is not as it should be: the service loop looks after it before long.
    pub(super) fn look_again(&self) {
        self.look_after(self.options.interval);
    }

    pub(super) fn look_after(&self, delay: Duration) {
        if self.alarm.arm(Instant::now() + delay) {
            // A thread that waits in the registry waits without the timer.
            self.registry.wake();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("domain", &self.domain)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
