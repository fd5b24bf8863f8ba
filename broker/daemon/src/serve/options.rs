//! How a daemon behaves.

use std::path::PathBuf;

use super::policy::Policy;
use super::state::Quotas;

/// How a daemon behaves.
#[derive(Debug)]
pub(crate) struct Options {
    /// The control socket.
    pub(crate) socket: PathBuf,
    /// Who may do what.
    pub(crate) policy: Policy,
    /// How much a peer may hold.
    pub(crate) quotas: Quotas,
}
