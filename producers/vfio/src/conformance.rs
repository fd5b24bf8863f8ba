//! What a kernel answers to VFIO requests, legal and not, as cases.
//!
//! They run on any [`RawDevice`](crate::RawDevice). Each case sends bytes and knows the answer; its doc says the rule. [`all`] lists them, [`run`]
//! runs one. They run on the simulator, which keeps it honest, and on a real device, which tells
//! when a new kernel changes a rule. Where kernels differ, a [`KernelProfile`] says which one this
//! is; where a driver differs for good, [`known_difference`] says why.
//!
//! ```
//! use irqbroker_vfio::SimDevice;
//! use irqbroker_vfio::conformance;
//! use irqbroker_vfio::conformance::DeviceShape;
//! use irqbroker_vfio::conformance::KernelProfile;
//!
//! let device = SimDevice::pci().msix(8).build();
//! let shape = DeviceShape::of(&*device).unwrap();
//! for case in conformance::all() {
//!     if case.runs_on(&shape) {
//!         conformance::run(case, &*device, &shape, KernelProfile::default()).unwrap();
//!     }
//! }
//! ```

mod bench;
mod differences;
mod gfx;
mod info;
mod intx;
mod list;
mod msi;
mod platform;
mod profile;
mod set_irqs;
mod shape;
mod single;

pub use bench::Answer;
pub use bench::Mismatch;
pub use bench::Probe;
pub use differences::Difference;
pub use differences::VFIO_USER;
pub use differences::VGPU;
pub use differences::known_difference;
pub use list::Case;
pub use list::Needs;
pub use list::all;
pub use list::run;
pub use profile::KernelProfile;
pub use shape::DeviceShape;

#[cfg(test)]
mod tests;
