//! `irqbroker serve`: the daemon that pairs producers and consumers of different processes.
//!
//! ```text
//!  control socket ──► server ──► dispatch ──► state (pure) ──► effects ──► server, relay
//!  eventfds ─────────────────────────────────────────────────────────────► relay
//! ```
//!
//! One thread, one epoll set. With nothing to relay and nothing asked it sleeps. Threads beside it
//! close what a close may have to wait for.

mod aio_fd;
mod claim_fd;
mod closer;
mod deaf;
mod dispatch;
mod fd_limit;
mod hooks;
mod identify;
mod options;
mod outside;
mod packet;
mod partners;
mod peer;
mod policy;
mod polled;
mod rate;
mod relay;
mod server;
mod signals;
mod sink_fd;
mod socket;
mod state;
mod vgpus;
mod welcome;

pub(crate) use hooks::BeforeLoop;
pub(crate) use hooks::Extra;
pub(crate) use hooks::Hooks;
pub(crate) use hooks::Notes;
pub(crate) use hooks::VgpuHost;
pub(crate) use hooks::View;
pub(crate) use options::Options;
pub(crate) use partners::Partners;
pub(crate) use policy::Policy;
pub(crate) use policy::Rule;
pub(crate) use policy::Who;
pub(crate) use server::Server;
pub(crate) use socket::ControlSocket;
pub(crate) use state::Quotas;
