//! VFIO as a source of interrupts: what the host's VFIO can do.
//!
//! So far this answers one question, whether a VFIO container can be opened and drives an IOMMU
//! that devices can be assigned behind ([`container_support`]). VFIO devices as producers are not
//! here yet.
#![forbid(unsafe_code)]

mod container;

pub use container::ContainerError;
pub use container::ContainerSupport;
pub use container::IommuModel;
pub use container::container_support;
