//! `irqbroker client`: a producer's and a VMM's process, to try a daemon by hand.

mod args;
mod consume;
mod counting;
mod pace;
mod produce;
mod report;
mod source;

pub(crate) use args::ClientArgs;
pub(crate) use args::run;
