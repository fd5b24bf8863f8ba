//! A vGPU: a VFIO device whose vblanks and flips are interrupt producers.
//!
//! A [`VgpuParent`] creates [`VgpuInstance`]s with one to sixteen [`Head`]s. The vblank of each
//! head is a [`LocalProducer`](irqbroker_core::LocalProducer) that goes into a registry like any
//! other. One [`VblankScheduler`] times the heads of all instances; it ticks only those that a
//! consumer is bound to and listens to, and starts no thread unless asked to
//! ([`VblankScheduler::spawn`]).
//!
//! With [`VgpuParent::create_device`] an instance gets VRAM, registers and configuration space: a
//! [`VgpuDevice`], which is an [`irqbroker_vfio_abi::Device`] that Linux's bochs driver drives as
//! it is. Each [`HeadEvent`] is a producer here, a sub-index of the device's display interrupt and,
//! where it concerns the guest, an MSI-X vector.
//!
//! Vblank times come from an exact rational [`Refresh`] rate and a start ([`Cadence`]), never
//! from the time of the vblank before: the mean rate is that of the host's clock, without drift.

mod alarm;
mod budget;
mod cadence;
mod clock;
mod config_space;
mod counters;
mod cursor;
mod device;
mod edid_region;
mod export;
#[cfg(test)]
mod fakes;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzz;
mod granularity;
mod head;
mod head_event;
mod head_events;
mod head_view;
mod instance;
mod msix_table;
mod observer;
mod open_device;
mod parent;
mod refresh;
mod registers;
mod sampler;
mod saved;
mod scanout;
mod scanout_latch;
mod scheduler;
mod test_picture;
mod thread;
mod timeline;
mod trigger;
mod udmabuf_fd;
mod uuid;
mod vgpu_type;
mod vram;
mod wakeup_timer;

pub use budget::BudgetError;
pub use budget::VgpuBudget;
pub use cadence::Cadence;
pub use clock::Clock;
pub use clock::MonotonicTime;
pub use counters::VblankCounters;
pub use cursor::Cursor;
pub use device::OpenError;
pub use device::ProducerError;
pub use device::TestCard;
pub use device::TestCardError;
pub use device::UnknownHead;
pub use device::VgpuDevice;
pub use granularity::Granularity;
pub use head::Head;
pub use head::HeadId;
pub use head_event::HeadEvent;
pub use head_events::HeadCounters;
pub use head_events::Watch;
pub use head_view::HeadView;
pub use instance::CreateError;
pub use instance::InstanceConfig;
pub use instance::InstanceId;
pub use instance::MAX_HEADS;
pub use instance::VgpuInstance;
pub use irqbroker_vfio_abi::Edid;
pub use irqbroker_vfio_abi::EdidError;
pub use irqbroker_vfio_abi::Mode;
pub use irqbroker_vfio_abi::MonitorDescription;
pub use irqbroker_vfio_abi::MonitorError;
pub use observer::ObserveError;
pub use observer::Vblank;
pub use observer::VblankObserver;
pub use open_device::OpenVgpu;
pub use parent::CreateDeviceError;
pub use parent::DestroyError;
pub use parent::RestoreDeviceError;
pub use parent::VgpuParent;
pub use refresh::Refresh;
pub use refresh::RefreshError;
pub use registers::Monitor;
pub use saved::RestoreError;
pub use saved::SAVED_VERSION;
pub use saved::SaveError;
pub use saved::SavedPart;
pub use scanout::PixelFormat;
pub use scanout::Scanout;
pub use scheduler::DriveError;
pub use scheduler::VblankDriver;
pub use scheduler::VblankScheduler;
pub use test_picture::TestPicture;
pub use test_picture::TestPixel;
pub use test_picture::TestReading;
pub use thread::SpawnError;
pub use thread::VblankThread;
pub use uuid::UuidError;
pub use uuid::VgpuUuid;
pub use vgpu_type::TypeError;
pub use vgpu_type::VgpuType;
