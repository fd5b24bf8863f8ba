//! How much one side takes of the other.

use std::time::Duration;

use crate::header::Header;
use crate::region_access::RegionAccess;

/// The most fds that Linux passes with one message (`SCM_MAX_FD`, `include/net/scm.h`).
pub(crate) const SCM_MAX_FD: usize = 253;

/// Room for a version's text, however small the accesses are.
const MESSAGE_MIN: usize = 8192;

/// How much is taken with one message, and kept for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Fds of one message, at most 253. A message with more is refused and its fds are closed.
    pub max_msg_fds: usize,
    /// Bytes of one region access. What a peer makes this side keep is a small multiple of it.
    pub max_data_xfer_size: u32,
    /// DMA maps at a time, of which each costs a server some dozens of bytes.
    pub max_dma_maps: usize,
    /// How long a client may keep a server's only place without having said its version. One that
    /// is silent for longer makes room for the next who comes, and is left alone until then.
    pub opening: Duration,
}

impl Default for Limits {
    /// 64 fds, 1 MiB, 65535 maps, 10 seconds.
    fn default() -> Self {
        Self {
            max_msg_fds: 64,
            max_data_xfer_size: 1 << 20,
            max_dma_maps: 65535,
            opening: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Within what Linux can do.
    pub(crate) fn clamped(self) -> Self {
        Self {
            max_msg_fds: self.max_msg_fds.min(SCM_MAX_FD),
            ..self
        }
    }

    /// Bytes of the longest message.
    pub(crate) fn max_message(&self) -> usize {
        usize::try_from(self.max_data_xfer_size)
            .unwrap_or(usize::MAX)
            .saturating_add(Header::SIZE + RegionAccess::SIZE)
            .max(MESSAGE_MIN)
    }
}
