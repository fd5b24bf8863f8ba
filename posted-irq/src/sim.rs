//! Thousands of vCPUs and devices in simulated time, on the crate's own structures.
//!
//! ```text
//!  device ─ entry of its unit, cached or read ─┬─ posted ──► PiDesc ─► notification ─► processor
//!     (SimUnit: table, cache, queue)           └─ remapped ─► host ──► PiDesc, by the VM's route
//!
//!  guest re-routes ─► decide_posting ─► IrteBinding ─► VtdIrteTable ─► queue ─► cache
//!  scheduler ─► PiVcpu: load, preempt, block; Processor: wake
//! ```
//!
//! What is simulated is everything around the crate: devices that interrupt, guests that re-route,
//! lose and regain them, a host that schedules more vCPUs than it has processors and moves its own
//! interrupts, and two remapping units that go by what they have cached until an invalidation
//! reaches them. Each step is held against a model of what is pending where; the first difference
//! is a [`SimViolation`]. One thread, no clock: the same seed makes the same run.

mod agenda;
mod config;
mod delivery;
mod devices;
mod guest;
mod host;
mod report;
mod routes;
mod schedule;
mod unit;
mod vcpu;
mod violation;

pub use config::SimConfig;
pub use config::SimFault;
pub use host::SimHost;
pub use report::SimCause;
pub use report::SimChanges;
pub use report::SimReport;
pub use violation::SimViolation;

#[cfg(test)]
mod tests;
