//! The parent: creates vGPU instances and finds them by id.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use dashmap::DashMap;

use crate::instance::CreateError;
use crate::instance::InstanceConfig;
use crate::instance::InstanceId;
use crate::instance::VgpuInstance;
use crate::scheduler::VblankScheduler;

/// What vGPU instances are created from, as a GPU is the parent of its mediated devices.
///
/// All its instances share one scheduler, as may several parents. Instances outlive the parent in
/// the hands of whoever holds them.
#[derive(Debug)]
pub struct VgpuParent {
    scheduler: VblankScheduler,
    /// No code but the map's own runs under a guard of it, so it has no place in the lock order.
    instances: DashMap<InstanceId, Arc<VgpuInstance>>,
    next_id: AtomicU64,
}

/// Why an instance could not be destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DestroyError {
    /// There is none, or no more.
    #[error("no vgpu instance {id}")]
    Unknown {
        /// The id asked for.
        id: InstanceId,
    },
}

impl VgpuParent {
    /// A parent without instances, whose vblanks `scheduler` times.
    #[must_use]
    pub fn new(scheduler: VblankScheduler) -> Self {
        Self {
            scheduler,
            instances: DashMap::new(),
            next_id: AtomicU64::new(0),
        }
    }

    /// The scheduler of all instances.
    #[must_use]
    pub fn scheduler(&self) -> &VblankScheduler {
        &self.scheduler
    }

    /// Creates an instance; its heads begin to count frames, and tick once they are wanted.
    ///
    /// # Errors
    ///
    /// See [`CreateError`]. No instance is created.
    pub fn create(&self, config: InstanceConfig) -> Result<Arc<VgpuInstance>, CreateError> {
        // Relaxed: ids need to differ, nothing else is published by them.
        let id = InstanceId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let instance = Arc::new(VgpuInstance::new(id, config, &self.scheduler)?);
        self.instances.insert(id, instance.clone());
        tracing::debug!(
            name = instance.name(),
            heads = instance.heads().len(),
            "created"
        );
        Ok(instance)
    }

    /// Destroys an instance: no vblank of its is signalled after return, whoever still holds it
    /// or its producers. Waits for vblanks under way; must not be called by an observer.
    ///
    /// # Errors
    ///
    /// See [`DestroyError`].
    pub fn destroy(&self, id: InstanceId) -> Result<(), DestroyError> {
        let (_, instance) = self
            .instances
            .remove(&id)
            .ok_or(DestroyError::Unknown { id })?;
        instance.retire();
        tracing::debug!(name = instance.name(), "destroyed");
        Ok(())
    }

    /// The instance of that id.
    #[must_use]
    pub fn get(&self, id: InstanceId) -> Option<Arc<VgpuInstance>> {
        Some(self.instances.get(&id)?.clone())
    }

    /// All instances, by id.
    #[must_use]
    pub fn instances(&self) -> Vec<Arc<VgpuInstance>> {
        let mut all: Vec<_> = self.instances.iter().map(|entry| entry.clone()).collect();
        all.sort_by_key(|instance| instance.id());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use irqbroker_core::Producer;

    use crate::fakes::create;
    use crate::granularity::Granularity;
    use crate::head::HeadId;
    use crate::instance::MAX_HEADS;
    use crate::refresh::Refresh;
    use crate::scheduler::VblankScheduler;

    fn parent() -> VgpuParent {
        VgpuParent::new(VblankScheduler::new(Granularity::Exact))
    }

    #[test]
    fn producers_are_named_by_instance_and_head() {
        let parent = parent();
        let instance = create(&parent, &[Refresh::HZ_60; 2]);
        let producer: Arc<dyn Producer> = instance.head(HeadId(1)).unwrap().producer();
        assert_eq!(producer.name(), "vgpu0.head1.vblank");
        assert!(instance.head(HeadId(2)).is_none());
    }

    #[test]
    fn create_with_too_few_or_too_many_heads_is_refused_and_creates_nothing() {
        let parent = parent();
        for heads in [0, MAX_HEADS + 1] {
            let config = InstanceConfig {
                name: Some("gpu".into()),
                heads: vec![Refresh::HZ_60; heads],
            };
            let refused = parent.create(config);
            assert!(matches!(refused, Err(CreateError::HeadCount { heads: h }) if h == heads));
        }
        assert!(parent.instances().is_empty());
        assert_eq!(
            create(&parent, &[Refresh::HZ_60; MAX_HEADS]).heads().len(),
            MAX_HEADS
        );
    }

    #[test]
    fn destroyed_instance_is_not_found_and_its_id_not_given_again() {
        let parent = parent();
        let first = create(&parent, &[Refresh::HZ_60]).id();
        parent.destroy(first).unwrap();
        assert!(parent.get(first).is_none());
        assert_eq!(
            parent.destroy(first),
            Err(DestroyError::Unknown { id: first })
        );
        let second = create(&parent, &[Refresh::HZ_60]).id();
        assert_ne!(second, first);
        assert_eq!(parent.get(second).unwrap().id(), second);
    }
}
