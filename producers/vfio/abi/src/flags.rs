//! The flag words. Bits that are not named are kept as they came.

use bitflags::bitflags;

bitflags! {
    /// Flags of `vfio_device_info`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct DeviceFlags: u32 {
        /// The device can be reset.
        const RESET = 1 << 0;
        /// vfio-pci's indexes.
        const PCI = 1 << 1;
        /// vfio-platform.
        const PLATFORM = 1 << 2;
        /// vfio-amba.
        const AMBA = 1 << 3;
        /// vfio-ccw.
        const CCW = 1 << 4;
        /// vfio-ap.
        const AP = 1 << 5;
        /// vfio-fsl-mc.
        const FSL_MC = 1 << 6;
        /// A capability chain follows. Of the encoding: never set in
        /// [`DeviceInfo`](crate::DeviceInfo).
        const CAPS = 1 << 7;
        /// vfio-cdx.
        const CDX = 1 << 8;
    }

    /// Flags of `vfio_region_info`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct RegionFlags: u32 {
        /// Can be read.
        const READ = 1 << 0;
        /// Can be written.
        const WRITE = 1 << 1;
        /// Can be mapped, in whole or where a sparse-mmap capability says.
        const MMAP = 1 << 2;
        /// A capability chain follows. Of the encoding: never set in
        /// [`RegionInfo`](crate::RegionInfo).
        const CAPS = 1 << 3;
    }

    /// Flags of `vfio_irq_info`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct IrqFlags: u32 {
        /// Can be signalled through eventfds.
        const EVENTFD = 1 << 0;
        /// Knows the actions MASK and UNMASK.
        const MASKABLE = 1 << 1;
        /// Masks itself when it signals; a level interrupt. Not set: an edge.
        const AUTOMASKED = 1 << 2;
        /// Sub-indexes beyond those enabled first cannot be added.
        const NORESIZE = 1 << 3;
        /// A capability chain follows. Not upstream (`design/irq-info-capabilities.md`). Of the
        /// encoding: never set in [`IrqInfo`](crate::IrqInfo).
        const CAPS = 1 << 4;
    }

    /// Flags of `vfio_irq_set`: what the payload is, and what to do.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct IrqSetFlags: u32 {
        /// No payload.
        const DATA_NONE = 1 << 0;
        /// One byte a sub-index, zero leaves it alone.
        const DATA_BOOL = 1 << 1;
        /// One 32-bit fd a sub-index, -1 unbinds.
        const DATA_EVENTFD = 1 << 2;
        /// Mask.
        const ACTION_MASK = 1 << 3;
        /// Unmask.
        const ACTION_UNMASK = 1 << 4;
        /// Bind what is signalled, or signal.
        const ACTION_TRIGGER = 1 << 5;
        /// All bits that say what the payload is.
        const DATA_TYPE_MASK = Self::DATA_NONE.bits()
            | Self::DATA_BOOL.bits()
            | Self::DATA_EVENTFD.bits();
        /// All bits that say what to do.
        const ACTION_TYPE_MASK = Self::ACTION_MASK.bits()
            | Self::ACTION_UNMASK.bits()
            | Self::ACTION_TRIGGER.bits();
    }

    /// Flags of `vfio_device_gfx_plane_info`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct GfxPlaneFlags: u32 {
        /// Only asks whether the transport is there.
        const PROBE = 1 << 0;
        /// The picture is a dma-buf.
        const DMABUF = 1 << 1;
        /// The picture is in a region.
        const REGION = 1 << 2;
    }

    /// A set of planes; the bit is the number of the DRM plane type.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct PlaneMask: u32 {
        /// `DRM_PLANE_TYPE_OVERLAY`.
        const OVERLAY = 1 << 0;
        /// `DRM_PLANE_TYPE_PRIMARY`.
        const PRIMARY = 1 << 1;
        /// `DRM_PLANE_TYPE_CURSOR`.
        const CURSOR = 1 << 2;
    }
}
