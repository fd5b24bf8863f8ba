//! `irqbroker demo`: a tiny guest takes a device's interrupts through the broker.
mod account;
mod args;
mod display_feed;
mod feed;
pub(crate) mod refresh;
mod report;
mod run;
mod vfio_feed;
mod vgpu_feed;

pub(crate) use args::DemoArgs;
pub(crate) use run::run;
