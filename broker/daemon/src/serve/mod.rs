//! `irqbroker serve`: the daemon that pairs producers and consumers of different processes.
//!
//! ```text
//!  control socket ──► server ──► dispatch ──► state (pure) ──► effects ──► server, relay
//!  eventfds ─────────────────────────────────────────────────────────────► relay
//! ```
//!
//! One thread, one epoll set. With nothing to relay and nothing asked it sleeps.

mod args;
mod claim_fd;
mod dispatch;
mod hooks;
mod options;
mod outside;
mod packet;
mod peer;
mod policy;
mod rate;
mod relay;
mod run;
mod server;
mod signals;
mod socket;
mod state;
mod welcome;

pub(crate) use args::SOCKET;
pub(crate) use args::ServeArgs;
pub(crate) use run::run;
