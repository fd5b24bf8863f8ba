//! Why a monitor cannot be changed.

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::MonitorError;
use irqbroker_vfio_abi::RegionIndex;

/// Why the monitor of a device cannot be changed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FindMonitorError {
    /// The device does not tell what it is.
    #[error("the device does not tell what it is")]
    Info {
        /// What it answered.
        #[source]
        source: Errno,
    },
    /// None of its regions is for EDIDs.
    #[error("the device has no edid region")]
    NoRegion,
    /// It is not for this user to change.
    #[error("the edid in region {index} cannot be changed", index = index.0)]
    ReadOnly {
        /// The EDID region.
        index: RegionIndex,
    },
}

/// Why a monitor does not prefer a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PreferError {
    /// The EDID region cannot be read.
    #[error("cannot read the edid region")]
    Read {
        /// What the device answered.
        #[source]
        source: Errno,
    },
    /// No monitor is plugged in, and none is.
    #[error("no monitor is plugged in")]
    Unplugged,
    /// Smaller than a cursor, or larger than an EDID can tell or the device shows.
    #[error("no monitor of {width}x{height} where 64x64 ..= {}x{} can be shown", max.0, max.1)]
    Size {
        /// Pixels asked for.
        width: u16,
        /// Lines asked for.
        height: u16,
        /// The most the device shows, pixels and lines.
        max: (u32, u32),
    },
    /// There is no such EDID.
    #[error("no edid of such a monitor")]
    Build {
        /// Why not.
        #[source]
        source: MonitorError,
    },
    /// The device does not take the EDID.
    #[error("the device does not take the edid")]
    Write {
        /// What it answered.
        #[source]
        source: Errno,
    },
}
