//! `irqbroker vfio`: what a VFIO device is, as it tells it itself.
mod args;
mod device;
mod irq;
mod patience;
mod plane;
mod probe;
mod region;
mod report;
mod same_pixels;

pub(crate) use args::VfioArgs;
pub(crate) use patience::patient;
pub(crate) use probe::run;
