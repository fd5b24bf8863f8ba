//! The structures as they lie in memory (`include/uapi/linux/vfio.h`).

use zerocopy::FromBytes;
use zerocopy::Immutable;
use zerocopy::IntoBytes;
use zerocopy::KnownLayout;

/// `vfio_device_info`. `cap_offset` came later, `pad` in Linux 6.6 so that the chain behind it is
/// aligned; only the first 16 bytes are always there.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct DeviceInfoWire {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) num_regions: u32,
    pub(crate) num_irqs: u32,
    pub(crate) cap_offset: u32,
    pub(crate) pad: u32,
}

/// `vfio_region_info`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct RegionInfoWire {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) index: u32,
    pub(crate) cap_offset: u32,
    pub(crate) size: u64,
    pub(crate) offset: u64,
}

/// `vfio_irq_info` with the two words of `design/irq-info-capabilities.md`; upstream it ends
/// behind `count`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IrqInfoWire {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) index: u32,
    pub(crate) count: u32,
    pub(crate) cap_offset: u32,
    pub(crate) reserved: u32,
}

/// `vfio_info_cap_header`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct CapHeaderWire {
    pub(crate) id: u16,
    pub(crate) version: u16,
    pub(crate) next: u32,
}

/// `vfio_irq_set` without its payload.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IrqSetWire {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) index: u32,
    pub(crate) start: u32,
    pub(crate) count: u32,
}

/// `vfio_device_gfx_plane_info`; all but `reserved` must be there.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct GfxPlaneInfoWire {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) drm_plane_type: u32,
    pub(crate) drm_format: u32,
    pub(crate) drm_format_mod: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) stride: u32,
    pub(crate) size: u32,
    pub(crate) x_pos: u32,
    pub(crate) y_pos: u32,
    pub(crate) x_hot: u32,
    pub(crate) y_hot: u32,
    pub(crate) surface: u32,
    pub(crate) reserved: u32,
}

/// The beginning of each capability that ends in an array, behind its header.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct ArrayHeadWire {
    pub(crate) count: u32,
    pub(crate) reserved: u32,
}

/// A type and a subtype, of a region or of an interrupt index.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct TypeWire {
    pub(crate) type_: u32,
    pub(crate) subtype: u32,
}

/// One area of a sparse-mmap capability.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct SparseAreaWire {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// One event of a display capability.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct DisplayEventWire {
    pub(crate) sub_index: u32,
    pub(crate) kind: u32,
    pub(crate) head: u32,
    pub(crate) planes: u32,
}

/// One message of an MSI-descriptor capability; the address first, so that no padding is needed.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct MsiDescriptorWire {
    pub(crate) address: u64,
    pub(crate) data: u32,
    pub(crate) sub_index: u32,
}

/// `vfio_region_gfx_edid`, the head of an EDID region.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct GfxEdidWire {
    pub(crate) edid_offset: u32,
    pub(crate) edid_max_size: u32,
    pub(crate) edid_size: u32,
    pub(crate) max_xres: u32,
    pub(crate) max_yres: u32,
    pub(crate) link_state: u32,
}

#[cfg(test)]
mod tests;
