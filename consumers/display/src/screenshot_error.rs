//! Why there is no picture.

use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqIndex;
use rustix::io::Errno as HostErrno;

use crate::import_error::ImportError;
use crate::transport_choice::TransportChoice;

/// Why a screenshot cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ScreenshotError {
    /// The device hands out no pictures, or not in this way.
    #[error("the device hands out no pictures {choice}")]
    Transport {
        /// How they were to be had.
        choice: TransportChoice,
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
    /// The picture is in a dma-buf though it was asked for in a region, or the other way round.
    #[error("the picture is handed out in another way than it was asked for")]
    Surface,
    /// The dma-buf that the device told of is not to be had: ENOENT if it was gone each time before it was
    /// fetched.
    #[error("cannot fetch dma-buf {id}", id = id.0)]
    Fetch {
        /// The device's id of it.
        id: DmabufId,
        /// What the device answered.
        #[source]
        source: Errno,
    },
    /// The dma-buf cannot be read.
    #[error("cannot look at dma-buf {id}", id = id.0)]
    Import {
        /// The device's id of it.
        id: DmabufId,
        /// Why.
        #[source]
        source: ImportError,
    },
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
    /// The region or the dma-buf ends within the picture.
    #[error("the memory of the picture ends within line {line}")]
    Short {
        /// Which, from the top.
        line: u32,
    },
}
