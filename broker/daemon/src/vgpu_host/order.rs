//! What the daemon and the spawner say to each other, one JSON object a packet.

use irqbroker_protocol::VgpuRow;
use irqbroker_protocol::WireError;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

/// A destroy whose outcome is told later, of this daemon's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Ticket(pub(super) u64);

/// From the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Order {
    /// Start a host.
    Create {
        /// The vGPU's UUID.
        uuid: Uuid,
        /// Its type's name.
        vgpu_type: String,
        /// Where to serve VNC.
        vnc: Option<String>,
    },
    /// End a host, if it lives and is not in use, and forget it.
    Destroy {
        /// The vGPU's UUID.
        uuid: Uuid,
        /// To be named with what was decided.
        ticket: Ticket,
        /// Even if it is in use.
        force: bool,
    },
}

/// From the spawner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Report {
    /// A vGPU is as the row says; `destroyed` is the last of it.
    Vgpu {
        /// The vGPU.
        row: VgpuRow,
        /// Why it could not be started.
        reason: Option<String>,
    },
    /// What was decided about a destroy.
    Decided {
        /// Which one.
        ticket: Ticket,
        /// Why it goes on; none where it ends.
        refusal: Option<WireError>,
    },
    /// What was there at the start has been reported.
    Ready,
}
