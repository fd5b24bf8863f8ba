//! `irqbroker vgpu`: types, vGPUs on a socket or hosted, and what they show.

mod args;
mod card;
mod ending;
mod hosted;
mod place;
mod run;
mod screenshot;
mod serve;
mod signals;
mod sockets;
mod types;
mod views;
mod vnc;

pub(crate) use args::VgpuArgs;
pub(crate) use run::run;
pub(crate) use sockets::remove_stale;
