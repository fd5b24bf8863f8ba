//! How a daemon behaves.

use std::path::PathBuf;

use super::partners::Partners;
use super::policy::Policy;
use super::state::Quotas;

/// How a daemon behaves.
#[derive(Debug)]
pub(crate) struct Options {
    /// The control socket.
    pub(crate) socket: PathBuf,
    /// Who may do what.
    pub(crate) policy: Policy,
    /// Whose objects may meet by name.
    pub(crate) partners: Partners,
    /// How much a peer may hold.
    pub(crate) quotas: Quotas,
}
