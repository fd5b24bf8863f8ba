//! The kernel's interrupt rules as bodies of tests that run on any [`VmIrq`](crate::VmIrq).
//!
//! Each body states one rule in its doc and asserts it. [`all`] lists them; each wants a fresh
//! [`Rig`]. They run on the simulator, which keeps it honest, and on the running kernel, which
//! tells when a new one changes a rule. Where kernels differ, a [`KernelProfile`] says which one
//! this is.

mod irqfd;
mod lapic_rig;
mod list;
mod pin;
mod rig;
mod sim_rig;
mod table;

pub use lapic_rig::LapicRig;
pub use lapic_rig::LapicRigError;
pub use list::Body;
pub use list::Needs;
pub use list::all;
pub use rig::KernelProfile;
pub use rig::Rig;
pub use rig::RigPin;
pub use rig::Serving;
pub use rig::VmShape;
pub use sim_rig::SimRig;

#[cfg(test)]
mod tests;
