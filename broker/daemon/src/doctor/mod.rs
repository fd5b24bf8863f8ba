//! `irqbroker doctor`: what this host offers to interrupts, and what is missing.
//!
//! Questions go through the [`host`] seam; what the answers mean is decided by pure functions over
//! it (`kvm`, `posting`, `devices`, `events`, `limits`), which made-up hosts test.

mod args;
mod check;
mod devices;
mod events;
mod host;
mod kvm;
mod limits;
mod posting;
mod report;
mod run;
mod this_host;
mod verdict;

#[cfg(test)]
mod tests;

pub(crate) use args::DoctorArgs;
pub(crate) use run::run;
