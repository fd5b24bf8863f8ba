//! The seam between asking a host and judging its answers.

use std::path::Path;

use irqbroker_vfio::ContainerError;
use irqbroker_vfio::ContainerSupport;

use super::check::Answer;

/// A host that can be asked; each question leaves it as it was.
pub(crate) trait Host {
    /// The KVM device node in use.
    fn kvm_node(&self) -> &Path;

    /// Asks KVM.
    fn kvm(&self, question: KvmQuestion) -> Answer<i32>;

    /// Reads a small text file, without white space at its ends.
    fn read(&self, path: &str) -> Answer<String>;

    /// Lists a directory.
    fn list(&self, path: &str) -> Answer<Vec<String>>;

    /// Opens a device node for reading and writing.
    fn open(&self, path: &str) -> Answer<()>;

    /// Opens a VFIO container.
    fn vfio_container(&self) -> Result<ContainerSupport, ContainerError>;

    /// Tries out what eventfds tell.
    fn eventfd(&self) -> EventfdFacts;

    /// A resource limit of this process.
    fn limit(&self, limit: Limit) -> Bounds;

    /// How many CPUs this process may run on.
    fn cpus(&self) -> usize;
}

/// What KVM can be asked; all but the first two need the node to be KVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KvmQuestion {
    /// Does the node open?
    Open,
    /// `KVM_GET_API_VERSION`.
    ApiVersion,
    /// `KVM_CHECK_EXTENSION` with this number.
    Extension(u32),
    /// Make a VM with a full in-kernel irqchip.
    FullIrqchip,
    /// Make a VM with local APICs in the kernel only.
    SplitIrqchip,
    /// Assign and deassign an irqfd.
    Irqfd,
    /// Assign and deassign an irqfd with resample.
    ResampleIrqfd,
}

/// What the kernel tells of an eventfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventfdFacts {
    /// Its id, if the kernel shows one.
    pub(crate) id: Option<u64>,
    /// Whether a semaphore eventfd was recognised as one.
    pub(crate) shows_semaphore: bool,
    /// Whether a dup was proved to be the same file; none where the kernel cannot tell.
    pub(crate) same_file: Option<bool>,
}

/// A resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `RLIMIT_NOFILE`.
    OpenFiles,
    /// `RLIMIT_MEMLOCK`, in bytes.
    LockedMemory,
}

/// The bounds of a resource limit; none means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// What is in force.
    pub(crate) soft: Option<u64>,
    /// What this process may raise it to.
    pub(crate) hard: Option<u64>,
}
