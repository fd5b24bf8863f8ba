//! Handing many links to the kernel with one commit of each routing table.

use std::sync::Arc;
use std::sync::PoisonError;

use crate::ids::LinkId;
use crate::link::Aim;
use crate::link::Link;
use crate::peer::Prepared;
use crate::peer::RouteDomain;
use crate::reentrancy;
use crate::reentrancy::Callbacks;
use crate::shared::Promotion;
use crate::shared::Shared;

/// Links that wait for a promotion. A leaf lock.
#[derive(Debug, Default)]
pub(crate) struct Promotions {
    queue: Vec<LinkId>,
    holds: usize,
    /// The service loop has been woken for what is queued.
    kicked: bool,
}

/// What a promotion did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promoted {
    /// Links the kernel delivers now.
    pub bypassed: usize,
    /// Links that stay in relay, each with its reason.
    pub relayed: usize,
    /// Routing tables that were committed.
    pub commits: usize,
}

/// Keeps promotions back, so that all links brought up meanwhile cost one route commit.
///
/// Their events wait in the eventfds. Dropping the last hold promotes them, or wakes the service
/// loop to do so where promotion is [deferred](Promotion::Deferred).
#[derive(Debug)]
#[must_use = "dropping it ends the hold"]
pub struct Hold(Option<Arc<Shared>>);

impl Hold {
    /// Ends the hold; the last one promotes what has queued up, unless promotion is deferred.
    pub fn release(mut self) -> Promoted {
        self.0
            .take()
            .map(|shared| shared.end_hold())
            .unwrap_or_default()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.end_hold();
        }
    }
}

impl Shared {
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        self.promotions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .holds += 1;
        Hold(Some(Arc::clone(self)))
    }

    fn end_hold(&self) -> Promoted {
        reentrancy::forbid();
        {
            let mut promotions = self
                .promotions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            promotions.holds -= 1;
            if promotions.holds > 0 {
                return Promoted::default();
            }
            if self.options.promotion == Promotion::Deferred {
                self.kick_for(&mut promotions);
                return Promoted::default();
            }
        }
        self.promote_queued()
    }

    /// Queues the link unless its promotion is due at once; tells whether a hold keeps it back.
    pub(crate) fn enqueue(&self, id: LinkId, queued: &mut bool) -> Option<bool> {
        let mut promotions = self
            .promotions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let held = promotions.holds > 0;
        if !held && self.options.promotion == Promotion::Immediate {
            return None;
        }
        if !std::mem::replace(queued, true) {
            promotions.queue.push(id);
        }
        if !held {
            self.kick_for(&mut promotions);
        }
        Some(held)
    }

    /// Queues the link for a promotion at the end of the service round that calls.
    pub(crate) fn queue(&self, id: LinkId, queued: &mut bool) {
        if !std::mem::replace(queued, true) {
            let mut promotions = self
                .promotions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            promotions.queue.push(id);
        }
    }

    /// Wakes the service loop, once for all that is queued till it comes.
    fn kick_for(&self, promotions: &mut Promotions) {
        if !promotions.queue.is_empty() && !std::mem::replace(&mut promotions.kicked, true) {
            self.poller.kick();
        }
    }

    /// Promotes every queued link: stage all, one commit a table, attach all.
    pub(crate) fn promote_queued(&self) -> Promoted {
        let queue = {
            let mut promotions = self
                .promotions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // Whoever ends the last hold wakes the service loop again.
            promotions.kicked = false;
            if promotions.holds > 0 {
                return Promoted::default();
            }
            std::mem::take(&mut promotions.queue)
        };
        let mut promoted = Promoted::default();
        let mut tables: Vec<Arc<dyn RouteDomain>> = Vec::new();
        for &id in &queue {
            self.with_queued(id, |link| {
                if let Some(domain) = stage(link)
                    && !tables.iter().any(|table| same(table, &domain))
                {
                    tables.push(domain);
                }
            });
        }
        for table in &tables {
            match table.commit() {
                Ok(_) => promoted.commits += 1,
                Err(_) => self.unstage(&queue, table),
            }
        }
        for &id in &queue {
            self.with_queued(id, |link| {
                if let Some(joint) = &mut link.joint {
                    joint.queued = false;
                }
                // The link may have been masked or demoted meanwhile: it goes where it aims now.
                // One whose table was refused is tried alone, so that it alone pays for its route.
                if let Err(error) = self.settle_now(id, link) {
                    tracing::warn!(link = %id, %error, "promotion failed");
                }
                match link.joint.as_ref().is_some_and(|joint| joint.attached) {
                    true => promoted.bypassed += 1,
                    false => promoted.relayed += 1,
                }
            });
        }
        promoted
    }

    /// Takes back what was staged in a table that the kernel refused: one bad route must not keep
    /// the others from being tried.
    fn unstage(&self, queue: &[LinkId], table: &Arc<dyn RouteDomain>) {
        for &id in queue {
            self.with_queued(id, |link| {
                let attached = link.joint.as_ref().is_some_and(|joint| joint.attached);
                if !attached
                    && let Some(bypass) = link
                        .consumer
                        .as_ref()
                        .and_then(|consumer| consumer.bypass())
                    && same(&bypass.domain(), table)
                {
                    bypass.release();
                }
            });
        }
    }

    fn with_queued(&self, id: LinkId, work: impl FnOnce(&mut Link)) {
        let Some(mut occupied) = self.table.lock(id) else {
            return;
        };
        if let Some(link) = occupied.body()
            && link.joint.as_ref().is_some_and(|joint| joint.queued)
        {
            let _callbacks = Callbacks::begin();
            work(link);
        }
    }
}

/// Stages the link's route and returns its table, if the table has to be committed for it.
fn stage(link: &Link) -> Option<Arc<dyn RouteDomain>> {
    let bypass = link.consumer.as_ref()?.bypass()?;
    match (link.aim()?, bypass.prepare()) {
        (Aim::Bypass, Ok(Prepared::Staged)) => Some(bypass.domain()),
        // Refusals are met again, and recorded, when the link settles.
        _ => None,
    }
}

fn same(a: &Arc<dyn RouteDomain>, b: &Arc<dyn RouteDomain>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}
