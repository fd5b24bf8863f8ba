//! VFIO devices as producers of interrupts.
//!
//! ```text
//!   IndexProducers ── one index ──► VfioProducer, one a sub-index: irqbroker-core's Producer
//!         │
//!   ProducerDevice ── any abi::Device: DeviceFd (kernel), SimDevice, a vfio-user client, a vGPU
//!                           │
//!                       RawDevice ── bytes: DeviceFd, SimDevice; the conformance cases ask here
//! ```
//!
//! A device of this host is [opened](open) by its PCI address, mdev UUID or path below `/sys`;
//! whatever else implements [`Device`](abi::Device) is given to a [`ProducerDevice`] as it is.
//! Binding all vectors of an index is one `VFIO_DEVICE_SET_IRQS`, changing one is one.
//!
//! ```no_run
//! use irqbroker_core::Registry;
//! use irqbroker_vfio::abi::IrqIndex;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let opened = irqbroker_vfio::open(&"0000:00:05.0".parse()?)?;
//! let device = opened.producers()?;
//!
//! let msix = device.index(IrqIndex::MSIX)?;
//! let registry = Registry::new()?;
//! let mut handles = Vec::new();
//! for vector in msix.bind(0..msix.info().count)? {
//!     handles.push(registry.register_producer(vector.token().clone(), vector)?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The system calls used, for a seccomp filter: `ioctl` with the numbers of `VFIO_DEVICE_*`,
//! `VFIO_GROUP_*` and, for device nodes, `IOMMU_IOAS_ALLOC`; `pread64` and `pwrite64` for regions;
//! `eventfd2`, `fcntl` and reads of `/proc/self/fdinfo` for tokens; sysfs while opening.

pub use irqbroker_vfio_abi as abi;

mod address;
mod bus_master;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod container;
#[cfg(any(test, feature = "testing"))]
mod counting;
mod device;
mod device_fd;
mod host_irq;
mod index;
mod index_error;
mod open;
mod open_error;
pub mod pci;
mod producer;
mod producer_device;
mod producer_error;
mod query;
mod raw;
#[cfg(any(test, feature = "testing"))]
mod sim;
mod sysfs;
mod window;

pub use address::AddressError;
pub use address::DeviceAddress;
pub use address::MdevUuid;
pub use address::PciAddress;
pub use bus_master::enable_bus_master;
pub use container::ContainerError;
pub use container::ContainerSupport;
pub use container::IommuModel;
pub use container::container_support;
#[cfg(any(test, feature = "testing"))]
pub use counting::CountingDevice;
#[cfg(any(test, feature = "testing"))]
pub use counting::RequestCounts;
pub use device_fd::DeviceFd;
pub use host_irq::HostIrq;
pub use host_irq::HostIrqError;
pub use host_irq::HostIrqs;
pub use index::IndexProducers;
pub use index_error::BindError;
pub use index_error::DisableError;
pub use index_error::FireError;
pub use index_error::RebindError;
pub use index_error::UnbindError;
pub use open::Opened;
pub use open::Opener;
pub use open::Through;
pub use open::open;
pub use open_error::OpenError;
pub use open_error::Step;
pub use producer::VfioProducer;
pub use producer_device::IndexError;
pub use producer_device::ProducerDevice;
pub use producer_error::EventfdError;
pub use producer_error::ProducerError;
pub use raw::RawDevice;
pub use raw::Request;
#[cfg(any(test, feature = "testing"))]
pub use sim::Fault;
#[cfg(any(test, feature = "testing"))]
pub use sim::Raised;
#[cfg(any(test, feature = "testing"))]
pub use sim::SimDevice;
#[cfg(any(test, feature = "testing"))]
pub use sim::SimDeviceBuilder;
pub use sysfs::GroupMember;
