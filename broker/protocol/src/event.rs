//! What a watcher is told.

use serde::Deserialize;
use serde::Serialize;

use crate::delivery::Delivery;
use crate::name::Name;
use crate::object::Side;

/// A change in the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Number of the event in this run of the daemon, without a gap but for those left out.
    pub sequence: u64,
    /// Milliseconds since the daemon started.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A side came.
    Registered {
        /// The link it belongs to.
        link: u64,
        /// Which side.
        side: Side,
        /// Its name.
        name: Name,
    },
    /// A side left.
    Unregistered {
        /// The link it belonged to.
        link: u64,
        /// Which side.
        side: Side,
        /// Its name.
        name: Name,
    },
    /// A side's connection has closed, and it stays for a hand-over.
    Lingering {
        /// The link it belongs to.
        link: u64,
        /// Which side.
        side: Side,
        /// Its name.
        name: Name,
    },
    /// A link's interrupts travel another way, or the same way for another reason.
    Delivery {
        /// The link.
        link: u64,
        /// How they travelled.
        from: Delivery,
        /// How they travel now.
        to: Delivery,
    },
    /// A claim that an earlier run of the daemon did not finish was delivered again.
    Recovered {
        /// The link.
        link: u64,
    },
    /// A connection was opened.
    Connected {
        /// Its number.
        session: u64,
        /// The peer's uid.
        uid: u32,
        /// What it calls itself.
        client: String,
    },
    /// A connection was closed.
    Disconnected {
        /// Its number.
        session: u64,
    },
    /// A vGPU was created, has started, has stopped or was destroyed.
    Vgpu {
        /// Its UUID.
        uuid: String,
        /// How it stands now.
        state: crate::vgpu::VgpuState,
        /// Why it is gone, where nobody asked for that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The watcher was too slow: this many events were left out here.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// Something a later daemon tells of.
    #[serde(other)]
    Other,
}
