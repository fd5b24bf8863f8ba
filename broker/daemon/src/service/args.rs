//! The arguments of `irqbroker serve`.

use clap::Args;

use crate::config::ConfigArgs;

/// Options of `irqbroker serve`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Let this uid register and look, besides those of the configuration (repeatable)
    #[arg(long = "allow-uid", value_name = "UID")]
    pub(super) allow_uids: Vec<u32>,
    /// Let this gid register and look (repeatable)
    #[arg(long = "allow-gid", value_name = "GID")]
    pub(super) allow_gids: Vec<u32>,
    /// Say what holds and end
    #[arg(long)]
    pub(super) check: bool,
    /// Print the commented defaults, as a file to begin with, and end
    #[arg(long, conflicts_with = "check")]
    pub(super) default_config: bool,
}
