//! Why a device cannot be saved or restored.

use std::fmt;

use irqbroker_vfio_abi::Errno;
use rustix::io::Errno as HostErrno;

use crate::instance::InstanceId;
use crate::saved::SAVED_VERSION;

/// Why a device cannot be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// It was destroyed.
    #[error("vgpu {id} is destroyed")]
    Destroyed {
        /// Which one that was.
        id: InstanceId,
    },
    /// The host gives no memory for the file, or the VRAM cannot be read.
    #[error("cannot copy the vram of vgpu {id}")]
    Memory {
        /// Which one.
        id: InstanceId,
        /// The kernel's answer.
        #[source]
        source: HostErrno,
    },
    /// Its state has no text.
    #[error("cannot write the state of vgpu {id}")]
    Encode {
        /// Which one.
        id: InstanceId,
        /// What was wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// A part of a saved device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SavedPart {
    /// Lengths and places in the file.
    Layout,
    /// The checksum of the state.
    Checksum,
    /// Configuration space.
    Config,
    /// The MSI-X table.
    MsixTable,
    /// The register BAR.
    Registers,
    /// Masks of the display's interrupt.
    Masks,
    /// A head: its rate, time and events.
    Head,
    /// A monitor.
    Monitor,
}

impl fmt::Display for SavedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Layout => "layout",
            Self::Checksum => "checksum",
            Self::Config => "configuration space",
            Self::MsixTable => "msi-x table",
            Self::Registers => "registers",
            Self::Masks => "interrupt masks",
            Self::Head => "head",
            Self::Monitor => "monitor",
        })
    }
}

/// Why a saved device cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The device it was to become was destroyed.
    #[error("vgpu {id} is destroyed")]
    Destroyed {
        /// Which one that was.
        id: InstanceId,
    },
    /// The file cannot be read, or the VRAM not written. If that is found in the middle of the VRAM
    /// the device is reset.
    #[error("cannot read the saved vgpu")]
    Read {
        /// The kernel's answer.
        #[source]
        source: HostErrno,
    },
    /// It does not begin as a saved vGPU does.
    #[error("the file is no saved vgpu")]
    Foreign,
    /// It is of another version.
    #[error("the saved vgpu is of version {found}, not {SAVED_VERSION}")]
    Version {
        /// As it says.
        found: u32,
    },
    /// The state is no text of this version.
    #[error("cannot read the state of the saved vgpu")]
    Decode {
        /// What was wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The device it was to become is of another type: mode, heads or VRAM.
    #[error("the saved vgpu is of another type ({saved}) than this one ({here})")]
    Type {
        /// Mode, heads and bytes of VRAM of the saved one.
        saved: String,
        /// And of the device.
        here: String,
    },
    /// A part of it is not as any device can be.
    #[error("{part} of the saved vgpu is not sound")]
    Unsound {
        /// Which part.
        part: SavedPart,
    },
}

impl From<SaveError> for Errno {
    fn from(error: SaveError) -> Self {
        match error {
            SaveError::Destroyed { .. } => Self::ENODEV,
            SaveError::Memory { source, .. } => source.into(),
            SaveError::Encode { .. } => Self::EIO,
        }
    }
}

impl From<RestoreError> for Errno {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Destroyed { .. } => Self::ENODEV,
            RestoreError::Read { source } => source.into(),
            RestoreError::Foreign
            | RestoreError::Version { .. }
            | RestoreError::Decode { .. }
            | RestoreError::Type { .. }
            | RestoreError::Unsound { .. } => Self::EINVAL,
        }
    }
}
