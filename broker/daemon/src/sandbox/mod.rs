//! What the daemon gives up once it has opened what it needs.
//!
//! Landlock fences off files, TCP, signals and abstract sockets; seccomp leaves the system calls of
//! [`calls`]. Both hold for the calling thread, which each of the daemon's is once, and cannot be undone.
//! `design/security.md` says against what.

mod calls;
mod enter;
mod fence;
mod filter;
mod outcome;

pub(crate) use enter::Needs;
pub(crate) use enter::enter;

#[cfg(test)]
mod tests;
