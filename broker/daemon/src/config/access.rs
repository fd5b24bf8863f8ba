//! Who may do what besides the daemon's own user and root, and whose objects may meet.

use serde::Deserialize;
use serde::Serialize;

/// The allow-list of each scope, and who is whose partner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Access {
    /// Groups of users whose objects may meet by the name of a link. All others meet their own
    /// only, root and the daemon's user too.
    pub(crate) partners: Vec<Vec<u32>>,
    /// May register producers.
    pub(crate) producer: Allow,
    /// May register consumers.
    pub(crate) consumer: Allow,
    /// May see everything, and create and destroy vGPUs.
    pub(crate) operator: Allow,
    /// May see everything and change nothing.
    pub(crate) read_only: Allow,
}

/// Users and groups, by number: the daemon asks no name service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Allow {
    /// User ids.
    pub(crate) uids: Vec<u32>,
    /// Group ids; only a peer's effective group counts (`SO_PEERCRED` tells no other).
    pub(crate) gids: Vec<u32>,
}
