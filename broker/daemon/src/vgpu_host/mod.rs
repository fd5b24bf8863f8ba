//! vGPUs the daemon hosts: each in a process of its own, which outlives the daemon.
//!
//! ```text
//!  daemon ── socketpair ── spawner ──► vgpu serve   (own session, own vfio-user socket)
//!  confined   Order/Report    │        writes RUN_DIR/UUID.json once it serves
//!                             ├──────► asks it on UUID.sock.end to end: it knows who uses it
//!                             └──────► the next daemon's spawner reads the records and goes on
//! ```
//!
//! The daemon may run no program once it is confined, so a helper that is started before does it. A
//! host tells of itself in a record (pid, start time, boot, socket); a process is taken for a host only
//! if all of that is true of it. `design/decisions/0006-a-spawner-hosts-the-vgpus.md` says why.

mod child;
mod end_socket;
mod hosted;
mod hosts;
mod order;
mod process;
mod question;
mod record;
mod spawner;
mod table;

pub(crate) use end_socket::EndAnswer;
pub(crate) use end_socket::EndOrder;
pub(crate) use end_socket::EndSocket;
pub(crate) use end_socket::GRACE;
pub(crate) use hosted::HostedArgs;
pub(crate) use hosts::VgpuHosts;
pub(crate) use order::Ticket;
pub(crate) use spawner::SpawnerArgs;
pub(crate) use spawner::run as run_spawner;
