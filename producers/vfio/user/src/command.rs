//! What a message asks for.

use std::fmt;

/// Number of a command. Open: a peer may send any.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Command(pub u16);

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl Command {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    /// The first of a connection: versions and capabilities.
    VERSION = 1;
    /// Lends guest memory to the server.
    DMA_MAP = 2;
    /// Takes guest memory back.
    DMA_UNMAP = 3;
    /// `VFIO_DEVICE_GET_INFO`.
    DEVICE_GET_INFO = 4;
    /// `VFIO_DEVICE_GET_REGION_INFO`, with the region's file.
    DEVICE_GET_REGION_INFO = 5;
    /// ioeventfds and ioregionfds of a region.
    DEVICE_GET_REGION_IO_FDS = 6;
    /// `VFIO_DEVICE_GET_IRQ_INFO`.
    DEVICE_GET_IRQ_INFO = 7;
    /// `VFIO_DEVICE_SET_IRQS`, its eventfds beside it.
    DEVICE_SET_IRQS = 8;
    /// Reads from a region.
    REGION_READ = 9;
    /// Writes to a region.
    REGION_WRITE = 10;
    /// Of the server: reads memory that was lent without a file.
    DMA_READ = 11;
    /// Of the server: writes memory that was lent without a file.
    DMA_WRITE = 12;
    /// `VFIO_DEVICE_RESET`.
    DEVICE_RESET = 13;
    /// Several writes of at most eight bytes each.
    REGION_WRITE_MULTI = 15;
    /// `VFIO_DEVICE_FEATURE`.
    DEVICE_FEATURE = 16;
    /// Reads migration data.
    MIG_DATA_READ = 17;
    /// Writes migration data.
    MIG_DATA_WRITE = 18;
    /// `VFIO_DEVICE_QUERY_GFX_PLANE`. Not of the specification: see `design/vfio-user.md`.
    QUERY_GFX_PLANE = 0x8001;
    /// `VFIO_DEVICE_GET_GFX_DMABUF`. Not of the specification: see `design/vfio-user.md`.
    GET_GFX_DMABUF = 0x8002;
    /// Stops the device and hands out all it is. Not of the specification: likewise.
    SAVE_DEVICE = 0x8003;
    /// Makes the device what was handed out. Not of the specification: likewise.
    RESTORE_DEVICE = 0x8004;
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Command({:#x})", self.0),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "command {:#x}", self.0),
        }
    }
}
