//! What the doctor can be told.

use std::path::PathBuf;

use clap::Args;

use crate::kvm_node;

/// Options of `irqbroker doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The KVM device node
    #[arg(long, value_name = "NODE", default_value = kvm_node::DEFAULT)]
    pub(crate) kvm: PathBuf,
}
