//! What the daemon knows: a state machine of requests in, effects out. No sockets, no clock.
//!
//! ```text
//!              one side                  both sides
//!   unmatched ──────────► unmatched ─────────────────┐
//!                                                     ▼
//!      ┌──────── relay ◄── declined ── attaching ── attached (consumer's process delivers)
//!      │           ▲                                  │
//!      ▼           └────────── detaching ◄────────────┘
//!   switching ──► switched (producer signals the consumer's eventfd)
//! ```
//!
//! While a link is attaching, detaching or attached the daemon claims nothing: what stands in the
//! producer's eventfd is the next taker's. While it is switching the relay goes on.

mod close;
mod effect;
mod explain;
mod index;
mod link;
mod meet;
mod object;
mod register;
mod report;
mod session;
mod settle;
mod show;
mod view;

pub(crate) use effect::Effect;
pub(crate) use register::ConsumerFds;
pub(crate) use register::ProducerFds;
pub(crate) use session::NewSession;
pub(crate) use session::Quotas;
pub(crate) use session::SessionId;
pub(crate) use session::State;
pub(crate) use view::MOST_ROWS;

#[cfg(test)]
mod check;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod tests;
