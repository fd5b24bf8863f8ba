//! A vGPU device model whose vblanks are interrupt producers.
//!
//! A [`VgpuParent`] creates [`VgpuInstance`]s with one to sixteen [`Head`]s. The vblank of each
//! head is a [`LocalProducer`](irqbroker_core::LocalProducer) that goes into a registry like any
//! other. One [`VblankScheduler`] times the heads of all instances; it ticks only those that a
//! consumer is bound to and listens to, and starts no thread unless asked to
//! ([`VblankScheduler::spawn`]).
//!
//! Vblank times come from an exact rational [`Refresh`] rate and a start ([`Cadence`]), never
//! from the time of the vblank before: the mean rate is that of the host's clock, without drift.

mod cadence;
mod clock;
#[cfg(test)]
mod fakes;
mod granularity;
mod head;
mod instance;
mod observer;
mod parent;
mod refresh;
mod scheduler;
mod thread;
mod timeline;

pub use cadence::Cadence;
pub use clock::Clock;
pub use clock::MonotonicTime;
pub use granularity::Granularity;
pub use head::Head;
pub use head::HeadId;
pub use instance::CreateError;
pub use instance::InstanceConfig;
pub use instance::InstanceId;
pub use instance::MAX_HEADS;
pub use instance::VgpuInstance;
pub use observer::ObserveError;
pub use observer::Vblank;
pub use observer::VblankObserver;
pub use parent::DestroyError;
pub use parent::VgpuParent;
pub use refresh::Refresh;
pub use refresh::RefreshError;
pub use scheduler::DriveError;
pub use scheduler::VblankCounters;
pub use scheduler::VblankDriver;
pub use scheduler::VblankScheduler;
pub use thread::SpawnError;
pub use thread::VblankThread;
