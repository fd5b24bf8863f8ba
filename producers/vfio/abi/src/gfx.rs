//! `VFIO_DEVICE_QUERY_GFX_PLANE` and `VFIO_DEVICE_GET_GFX_DMABUF`: what a vGPU shows.

use std::mem::offset_of;

use zerocopy::FromZeros;
use zerocopy::IntoBytes;

use crate::chain;
use crate::errno::Errno;
use crate::flags::GfxPlaneFlags;
use crate::index::RegionIndex;
use crate::info_error::InfoError;
use crate::wire::GfxPlaneInfoWire;

/// All but the padding at the end.
const MINIMUM: usize = offset_of!(GfxPlaneInfoWire, reserved);

/// A hotspot coordinate the driver does not know.
pub const HOTSPOT_UNKNOWN: u32 = u32::MAX;

/// A plane of a head, numbered as DRM does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlaneType(pub u32);

impl PlaneType {
    /// Over the primary plane.
    pub const OVERLAY: Self = Self(0);
    /// The desktop.
    pub const PRIMARY: Self = Self(1);
    /// The cursor.
    pub const CURSOR: Self = Self(2);
}

/// How a driver hands out pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GfxTransport {
    /// As dma-bufs.
    Dmabuf,
    /// In a region that can be mapped.
    Region,
}

impl GfxTransport {
    /// The bit that says so.
    #[must_use]
    pub const fn flag(self) -> GfxPlaneFlags {
        match self {
            Self::Dmabuf => GfxPlaneFlags::DMABUF,
            Self::Region => GfxPlaneFlags::REGION,
        }
    }
}

/// Id of a picture, for as long as the driver keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DmabufId(pub u32);

/// Where a plane's picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GfxSurface {
    /// In the dma-buf that `VFIO_DEVICE_GET_GFX_DMABUF` gives for this id.
    Dmabuf(DmabufId),
    /// In this region.
    Region(RegionIndex),
}

impl GfxSurface {
    /// What handed it out.
    #[must_use]
    pub const fn transport(self) -> GfxTransport {
        match self {
            Self::Dmabuf(_) => GfxTransport::Dmabuf,
            Self::Region(_) => GfxTransport::Region,
        }
    }
}

/// What a caller asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GfxRequest {
    /// Whether the driver has a transport.
    Probe(GfxTransport),
    /// What a plane shows now.
    Query {
        /// How the picture is to be handed out.
        transport: GfxTransport,
        /// Which plane.
        plane: PlaneType,
    },
}

impl GfxRequest {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// EFAULT if the slice has less than 60 bytes. EINVAL if `argsz` says less, or if the flags
    /// are anything but DMABUF or REGION, alone or with PROBE.
    pub fn decode(bytes: &[u8]) -> Result<Self, Errno> {
        let mut wire = GfxPlaneInfoWire::new_zeroed();
        chain::request(bytes, MINIMUM, wire.as_mut_bytes())?;
        chain::room(wire.argsz, MINIMUM)?;
        let flags = GfxPlaneFlags::from_bits_retain(wire.flags);
        let transport = transport(flags).ok_or(Errno::EINVAL)?;
        Ok(if flags.contains(GfxPlaneFlags::PROBE) {
            Self::Probe(transport)
        } else {
            Self::Query {
                transport,
                plane: PlaneType(wire.drm_plane_type),
            }
        })
    }

    /// The bytes the ioctl takes, with room for its answer.
    #[must_use]
    pub fn encode(self) -> [u8; GfxPlaneInfo::SIZE] {
        let (flags, plane) = match self {
            Self::Probe(transport) => (transport.flag() | GfxPlaneFlags::PROBE, PlaneType(0)),
            Self::Query { transport, plane } => (transport.flag(), plane),
        };
        zerocopy::transmute!(GfxPlaneInfoWire {
            argsz: ARGSZ,
            flags: flags.bits(),
            drm_plane_type: plane.0,
            ..GfxPlaneInfoWire::default()
        })
    }
}

/// The transport of valid flags.
fn transport(flags: GfxPlaneFlags) -> Option<GfxTransport> {
    [GfxTransport::Dmabuf, GfxTransport::Region]
        .into_iter()
        .find(|transport| flags.difference(GfxPlaneFlags::PROBE) == transport.flag())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "64, and no conversion is const"
)]
const ARGSZ: u32 = GfxPlaneInfo::SIZE as u32;

/// What a plane shows.
///
/// A disabled plane shows nothing: its picture has no format and no size, and that is a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GfxPlaneInfo {
    /// Which plane.
    pub plane: PlaneType,
    /// DRM fourcc; 0 if the plane is disabled.
    pub format: u32,
    /// DRM format modifier: the tiling.
    pub modifier: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bytes from one line to the next.
    pub stride: u32,
    /// Bytes of the picture, whole pages.
    pub size: u32,
    /// Where the plane is on the head, pixels. A cursor's may be negative, in two's complement.
    pub x_pos: u32,
    /// Where the plane is on the head, pixels. A cursor's may be negative, in two's complement.
    pub y_pos: u32,
    /// The point of a cursor that points, pixels, or [`HOTSPOT_UNKNOWN`].
    pub x_hot: u32,
    /// The point of a cursor that points, pixels, or [`HOTSPOT_UNKNOWN`].
    pub y_hot: u32,
    /// Where the picture is.
    pub surface: GfxSurface,
}

impl GfxPlaneInfo {
    /// Bytes of the structure.
    pub const SIZE: usize = size_of::<GfxPlaneInfoWire>();

    /// A plane that shows nothing.
    #[must_use]
    pub const fn disabled(plane: PlaneType, transport: GfxTransport) -> Self {
        Self {
            plane,
            format: 0,
            modifier: 0,
            width: 0,
            height: 0,
            stride: 0,
            size: 0,
            x_pos: 0,
            y_pos: 0,
            x_hot: 0,
            y_hot: 0,
            surface: match transport {
                GfxTransport::Dmabuf => GfxSurface::Dmabuf(DmabufId(0)),
                GfxTransport::Region => GfxSurface::Region(RegionIndex(0)),
            },
        }
    }

    /// Whether the plane shows nothing.
    #[must_use]
    pub const fn is_disabled(&self) -> bool {
        self.format == 0 || self.width == 0 || self.height == 0 || self.size == 0
    }

    /// The point of a cursor that points, if the driver knows.
    #[must_use]
    pub fn hotspot(&self) -> Option<(u32, u32)> {
        (self.x_hot != HOTSPOT_UNKNOWN && self.y_hot != HOTSPOT_UNKNOWN)
            .then_some((self.x_hot, self.y_hot))
    }

    /// What a driver writes back, 60 bytes, to a caller that offers `argsz`.
    ///
    /// # Errors
    ///
    /// EINVAL if `argsz` is less than that.
    pub fn encode(&self, argsz: u32) -> Result<Vec<u8>, Errno> {
        chain::room(argsz, MINIMUM)?;
        let surface = match self.surface {
            GfxSurface::Dmabuf(DmabufId(id)) => id,
            GfxSurface::Region(RegionIndex(index)) => index,
        };
        let wire = GfxPlaneInfoWire {
            argsz,
            flags: self.surface.transport().flag().bits(),
            drm_plane_type: self.plane.0,
            drm_format: self.format,
            drm_format_mod: self.modifier,
            width: self.width,
            height: self.height,
            stride: self.stride,
            size: self.size,
            x_pos: self.x_pos,
            y_pos: self.y_pos,
            x_hot: self.x_hot,
            y_hot: self.y_hot,
            surface,
            reserved: 0,
        };
        Ok(wire.as_bytes()[..MINIMUM].to_vec())
    }

    /// Reads what a driver wrote back to a [`GfxRequest::Query`].
    ///
    /// # Errors
    ///
    /// [`InfoError::Short`] if the slice or `argsz` is less than 60 bytes,
    /// [`InfoError::GfxFlags`] if the flags do not say where the picture is.
    pub fn decode(bytes: &[u8]) -> Result<Self, InfoError> {
        let mut wire = GfxPlaneInfoWire::new_zeroed();
        chain::fixed_part(bytes, MINIMUM, wire.as_mut_bytes())?;
        let flags = GfxPlaneFlags::from_bits_retain(wire.flags);
        let surface = match transport(flags) {
            Some(GfxTransport::Dmabuf) => GfxSurface::Dmabuf(DmabufId(wire.surface)),
            Some(GfxTransport::Region) => GfxSurface::Region(RegionIndex(wire.surface)),
            None => return Err(InfoError::GfxFlags { flags: wire.flags }),
        };
        Ok(Self {
            plane: PlaneType(wire.drm_plane_type),
            format: wire.drm_format,
            modifier: wire.drm_format_mod,
            width: wire.width,
            height: wire.height,
            stride: wire.stride,
            size: wire.size,
            x_pos: wire.x_pos,
            y_pos: wire.y_pos,
            x_hot: wire.x_hot,
            y_hot: wire.y_hot,
            surface,
        })
    }
}

#[cfg(test)]
mod tests;
