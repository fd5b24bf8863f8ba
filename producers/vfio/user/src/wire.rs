//! The structures as they lie in a message.
//!
//! From the vfio-user specification (QEMU, `docs/interop/vfio-user.rst`); the info structures,
//! which are those of VFIO, are irqbroker-vfio-abi's. All integers are in the byte order of the
//! host, which both sides share.

use zerocopy::FromBytes;
use zerocopy::Immutable;
use zerocopy::IntoBytes;
use zerocopy::KnownLayout;

/// What every message begins with.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct HeaderWire {
    pub(crate) id: u16,
    pub(crate) command: u16,
    pub(crate) size: u32,
    pub(crate) flags: u32,
    pub(crate) error: u32,
}

/// `VFIO_USER_VERSION`, before its text.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct VersionWire {
    pub(crate) major: u16,
    pub(crate) minor: u16,
}

/// `VFIO_USER_DMA_MAP`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct DmaMapWire {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) size: u64,
}

/// `VFIO_USER_DMA_UNMAP`, request and reply.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct DmaUnmapWire {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) address: u64,
    pub(crate) size: u64,
}

/// `VFIO_USER_REGION_READ` and `VFIO_USER_REGION_WRITE`, before their data.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct RegionAccessWire {
    pub(crate) offset: u64,
    pub(crate) region: u32,
    pub(crate) count: u32,
}

/// One write of `VFIO_USER_REGION_WRITE_MULTI`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct SingleWriteWire {
    pub(crate) access: RegionAccessWire,
    pub(crate) data: [u8; 8],
}

#[cfg(test)]
mod tests;
