//! `VFIO_USER_VERSION`: what both sides can do.
//!
//! Four bytes of version and a JSON text, NUL at its end, whose one key is `capabilities`. What is
//! not known in it is passed over; a number must be one, and a bool.

use serde::Deserialize;
use serde::Serialize;
use zerocopy::FromBytes;
use zerocopy::IntoBytes;

use irqbroker_vfio_abi::Errno;

use crate::wire::VersionWire;

/// The major version there is.
pub const PROTOCOL_MAJOR: u16 = 0;
/// The highest minor version spoken here.
pub const PROTOCOL_MINOR: u16 = 0;
/// Revision of the graphics commands of `design/vfio-user.md`.
pub const GFX_REVISION: u32 = 1;

/// Revision of the commands that save and restore a device, of the same page.
pub const SAVE_REVISION: u32 = 1;

/// Why the bytes are no version.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// Less than the two numbers.
    #[error("version of {len} bytes, at least 4 are needed")]
    Short {
        /// Bytes there are.
        len: usize,
    },
    /// There is a text, and no NUL at its end.
    #[error("version text does not end in NUL")]
    NotTerminated,
    /// The text is not JSON (which is UTF-8), or a capability is not of its type.
    #[error("version text")]
    Json(#[source] serde_json::Error),
    /// Another major version.
    #[error("version {major}.{minor} of the protocol")]
    Major {
        /// Major version of the peer.
        major: u16,
        /// Minor version of the peer.
        minor: u16,
    },
}

impl From<VersionError> for Errno {
    fn from(_: VersionError) -> Self {
        Self::EINVAL
    }
}

/// What one side says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Must be [`PROTOCOL_MAJOR`].
    pub major: u16,
    /// In a reply at most what was proposed.
    pub minor: u16,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// Capabilities. `None` is what was not said, which mostly means a default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// How many fds it can receive with one message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_msg_fds: Option<u64>,
    /// The largest count of a read or write, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_data_xfer_size: Option<u64>,
    /// How many DMA maps there can be at a time; 65535 if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_dma_maps: Option<u64>,
    /// Page sizes of DMA maps in bytes, or'ed together; 4096 if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgsizes: Option<u64>,
    /// Whether `VFIO_USER_REGION_WRITE_MULTI` is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_multiple: Option<bool>,
    /// Whether commands of the server may have a socket of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twin_socket: Option<TwinSocket>,
    /// Migration, if there is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
    /// What is not of the specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub irqbroker: Option<Irqbroker>,
}

/// The `twin_socket` capability.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TwinSocket {
    /// Whether it is supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supported: Option<bool>,
    /// In a reply: which of its fds is the socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd_index: Option<u64>,
}

/// The `migration` capability.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Migration {
    /// Page size of dirty bitmaps, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgsize: Option<u64>,
    /// The largest dirty bitmap, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bitmap_size: Option<u64>,
}

/// The `irqbroker` capability (`design/vfio-user.md`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Irqbroker {
    /// Highest revision of the graphics commands that is known; in a reply the one that is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gfx: Option<u32>,
    /// The same of the commands that save and restore the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save: Option<u32>,
}

/// The whole text.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Text {
    capabilities: Capabilities,
}

impl Capabilities {
    /// Where nothing is said, one fd a message.
    pub const DEFAULT_MAX_MSG_FDS: u64 = 1;
    /// Where nothing is said, a mebibyte an access.
    pub const DEFAULT_MAX_DATA_XFER_SIZE: u64 = 1 << 20;

    /// How many fds the side can receive with one message.
    #[must_use]
    pub fn max_msg_fds(&self) -> usize {
        saturate(self.max_msg_fds.unwrap_or(Self::DEFAULT_MAX_MSG_FDS))
    }

    /// The largest count of a read or write.
    #[must_use]
    pub fn max_data_xfer_size(&self) -> usize {
        saturate(
            self.max_data_xfer_size
                .unwrap_or(Self::DEFAULT_MAX_DATA_XFER_SIZE),
        )
    }

    /// Highest revision of the graphics commands that the side knows; 0 for none.
    #[must_use]
    pub fn gfx(&self) -> u32 {
        self.irqbroker
            .as_ref()
            .and_then(|irqbroker| irqbroker.gfx)
            .unwrap_or(0)
    }

    /// Highest revision of saving and restoring that the side knows; 0 for none.
    #[must_use]
    pub fn save(&self) -> u32 {
        self.irqbroker
            .as_ref()
            .and_then(|irqbroker| irqbroker.save)
            .unwrap_or(0)
    }
}

fn saturate(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Version {
    /// Reads a payload. Without a text there are no capabilities.
    ///
    /// # Errors
    ///
    /// All of [`VersionError`]; the major version is looked at first, since another one may have
    /// another text.
    pub fn decode(payload: &[u8]) -> Result<Self, VersionError> {
        let (wire, text) = VersionWire::read_from_prefix(payload)
            .map_err(|_| VersionError::Short { len: payload.len() })?;
        let VersionWire { major, minor } = wire;
        if major != PROTOCOL_MAJOR {
            return Err(VersionError::Major { major, minor });
        }
        let capabilities = match text {
            [] => Capabilities::default(),
            [text @ .., 0] => {
                let text: Text = serde_json::from_slice(text).map_err(VersionError::Json)?;
                text.capabilities
            }
            _ => return Err(VersionError::NotTerminated),
        };
        Ok(Self {
            major,
            minor,
            capabilities,
        })
    }

    /// The payload.
    ///
    /// # Errors
    ///
    /// None in practice: the capabilities are numbers.
    pub fn encode(&self) -> Result<Vec<u8>, VersionError> {
        let wire = VersionWire {
            major: self.major,
            minor: self.minor,
        };
        let text = Text {
            capabilities: self.capabilities.clone(),
        };
        let mut payload = wire.as_bytes().to_vec();
        serde_json::to_writer(&mut payload, &text).map_err(VersionError::Json)?;
        payload.push(0);
        Ok(payload)
    }
}

#[cfg(test)]
mod tests;
