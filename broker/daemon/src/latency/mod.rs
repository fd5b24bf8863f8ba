//! `irqbroker latency`: from a device's event to the guest's handler, path by path.
mod args;
mod bare_relay;
mod path;
mod plot;
mod report;
mod rig;
mod run;
mod userspace;

pub(crate) use args::LatencyArgs;
pub(crate) use run::run;
