//! What goes below a VMM's own interrupt traits, as the first step of moving to the manager.
//!
//! No trait of another project is implemented here: that takes a dependency on the project, and
//! is a few lines in it. These are the pieces that those lines call:
//!
//! | project | its trait or type | piece |
//! |---|---|---|
//! | Cloud Hypervisor | `vm_device::interrupt::InterruptSourceGroup` | [`MessageGroup`] |
//! | Firecracker | `MsixVectorGroup` | [`MessageGroup`] |
//! | OpenVMM | `vmcore::irqfd::IrqFdRoute` | [`MessageRoute`] |
//! | crosvm | the server of `VmIrqRequest` | [`MessageRoute`] |
//!
//! They route, share GSIs, batch commits and relay where the kernel cannot deliver. What a guest's
//! masks and pending bits mean stays with the caller, and with it what goes wrong there; only the
//! [`manager`](crate::manager) takes that over.

mod group;
mod route;

pub use group::MessageGroup;
pub use group::RouteCommit;
pub use group::UnknownVector;
pub use group::UpdateError;
pub use group::VectorMask;
pub use route::MessageRoute;
pub use route::NewRouteError;
pub use route::RouteError;
