//! A vGPU instance: what a VM is given, with its heads.

use std::fmt;

use irqbroker_core::LocalError;

use crate::head::Head;
use crate::head::HeadId;
use crate::refresh::Refresh;
use crate::scheduler::VblankScheduler;

/// Most heads an instance can have.
pub const MAX_HEADS: usize = 16;

/// A vGPU instance's number with its parent; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub u64);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an instance is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceConfig {
    /// A name for people; `None` gives `vgpu` and the id.
    pub name: Option<String>,
    /// The refresh rate of each head, one to [`MAX_HEADS`].
    pub heads: Vec<Refresh>,
}

/// Why an instance could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// None, or more than [`MAX_HEADS`].
    #[error("a vgpu has 1 to {MAX_HEADS} heads, not {heads}")]
    HeadCount {
        /// How many were asked for.
        heads: usize,
    },
    /// A head has no vblank producer.
    #[error("cannot make the vblank producer of head {head}")]
    Producer {
        /// The head.
        head: HeadId,
        /// What was wrong.
        #[source]
        source: LocalError,
    },
}

/// A vGPU instance. Dropping it ends its vblanks.
#[derive(Debug)]
pub struct VgpuInstance {
    id: InstanceId,
    name: String,
    heads: Vec<Head>,
    scheduler: VblankScheduler,
}

impl VgpuInstance {
    pub(crate) fn new(
        id: InstanceId,
        config: InstanceConfig,
        scheduler: &VblankScheduler,
    ) -> Result<Self, CreateError> {
        let count = config.heads.len();
        if !(1..=MAX_HEADS).contains(&count) {
            return Err(CreateError::HeadCount { heads: count });
        }
        let name = config.name.unwrap_or_else(|| format!("vgpu{id}"));
        let heads = (0..).map(HeadId).zip(config.heads);
        let heads = heads
            .map(|(head, refresh)| {
                Head::new(id, &name, head, refresh, scheduler.shared())
                    .map_err(|source| CreateError::Producer { head, source })
            })
            .collect::<Result<Vec<Head>, CreateError>>()?;
        Ok(Self {
            id,
            name,
            heads,
            scheduler: scheduler.clone(),
        })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// Its name, with which those of its producers begin: `vgpu0.head1.vblank`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All heads, by number.
    #[must_use]
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// One head.
    #[must_use]
    pub fn head(&self, id: HeadId) -> Option<&Head> {
        self.heads.get(usize::from(id.0))
    }

    /// Ends the vblanks of all heads for good; none is signalled after return.
    pub(crate) fn retire(&self) {
        let tracks = self.heads.iter().map(Head::track);
        self.scheduler.shared().retire(tracks);
    }
}
