//! Why there is no picture.

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqIndex;
use rustix::io::Errno as HostErrno;

/// Why a screenshot cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ScreenshotError {
    /// The device shows nothing, or hands out pictures in another way.
    #[error("the device hands out no pictures in a region")]
    Transport {
        /// What it answered.
        #[source]
        source: Errno,
    },
    /// The device does not tell what the plane shows.
    #[error("the device does not tell what its primary plane shows")]
    Query {
        /// What it answered.
        #[source]
        source: Errno,
    },
    /// The plane is disabled.
    #[error("the primary plane shows nothing")]
    Disabled,
    /// The picture is not in a region, though it was asked for there.
    #[error("the picture is not in a region")]
    Surface,
    /// Pixels of a format, or in an order, that is not known here.
    #[error("unknown pixel format {format:#010x} with modifier {modifier:#x}")]
    Format {
        /// DRM fourcc.
        format: u32,
        /// DRM format modifier.
        modifier: u64,
    },
    /// No picture has this size: a side beyond [`SIDE_MAX`](crate::SIDE_MAX), or lines that overlap.
    #[error("no picture is {width}x{height} with {stride} bytes from line to line")]
    Size {
        /// Pixels.
        width: u32,
        /// Lines.
        height: u32,
        /// Bytes.
        stride: u32,
    },
    /// A line cannot be read.
    #[error("cannot read line {line} of the picture")]
    Read {
        /// Which, from the top.
        line: u32,
        /// What the device answered.
        #[source]
        source: Errno,
    },
    /// There is no eventfd to be had.
    #[error("cannot make an eventfd")]
    Fd {
        /// The kernel's answer.
        #[source]
        source: HostErrno,
    },
    /// What tells of flips cannot be bound.
    #[error("cannot bind event {sub_index} of display interrupt {index}", index = index.0)]
    Bind {
        /// The display's index.
        index: IrqIndex,
        /// The event.
        sub_index: u32,
        /// What the device answered.
        #[source]
        source: Errno,
    },
    /// Each time it was read, another picture came before its end.
    #[error("another picture came each of the {times} times this one was read")]
    Overtaken {
        /// How often it was read.
        times: u64,
    },
    /// The region ends within the picture.
    #[error("the region ends within line {line} of the picture")]
    Short {
        /// Which, from the top.
        line: u32,
    },
}
