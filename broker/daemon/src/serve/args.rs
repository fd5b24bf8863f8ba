//! The arguments of `serve`.

use std::path::PathBuf;

use clap::Args;

/// Where the daemon listens when nobody says.
pub(crate) const SOCKET: &str = "/run/irqbroker/control.sock";

/// Pair producers and consumers of different processes over a control socket
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The control socket
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub(crate) socket: PathBuf,
    /// Let this uid register and look, beside the daemon's own and root (repeatable)
    #[arg(long = "allow-uid", value_name = "UID")]
    pub(crate) allow_uids: Vec<u32>,
    /// Let this gid register and look (repeatable)
    #[arg(long = "allow-gid", value_name = "GID")]
    pub(crate) allow_gids: Vec<u32>,
}
