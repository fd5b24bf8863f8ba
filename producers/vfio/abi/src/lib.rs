//! The VFIO device ABI as plain types.
//!
//! What user space and a VFIO driver say to each other, without either of them: the info
//! structures with their capability chains, `VFIO_DEVICE_SET_IRQS` with its checks in the kernel's
//! order, the graphics ioctls, [`Edid`]s and the region they are written to, and [`Device`], the
//! trait behind which a device is the kernel's, a simulator's, a vfio-user server's or one of this
//! process.
//!
//! ```text
//!  bytes ── decode ──► DeviceInfo RegionInfo IrqInfo GfxRequest GfxEdid     (no I/O, no unsafe)
//!        ◄─ encode ──
//!  bytes ── IrqSetHeader ── validate(IrqLimits) ──► ValidatedHeader ──► IrqPayload
//!                               EINVAL                   │                EFAULT
//!                                                        ▼
//!                      pci_set_irqs, platform_set_irqs, block_set_irqs ──► IrqOperation
//!                                               ENOTTY, EINVAL, ...
//! ```
//!
//! A request that a device gets as bytes, and what it is to do:
//!
//! ```
//! # use irqbroker_vfio_abi::*;
//! # fn main() -> Result<(), Errno> {
//! let bytes = IrqSet::disable(IrqIndex::MSIX).encode();
//!
//! let header = IrqSetHeader::decode(&bytes)?;
//! let valid = header.validate(IrqLimits { num_irqs: 5, count: 8 })?;
//! let state = PciIrqState { active: Some(IrqIndex::MSIX), vectors: 8, ..Default::default() };
//! assert_eq!(pci_set_irqs(&valid, &state), Ok(IrqOperation::Disable));
//! # Ok(())
//! # }
//! ```
//!
//! All integers are in the byte order of the host: both sides run on it. Layouts and numbers:
//! `include/uapi/linux/vfio.h`. What goes beyond it, the capability chain of `vfio_irq_info`, is
//! specified in `design/irq-info-capabilities.md`; a kernel that does not know it never shows it.
#![forbid(unsafe_code)]

mod absent;
mod capability;
mod chain;
mod device;
mod device_info;
mod edid;
mod errno;
mod flags;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzz;
mod gfx;
mod gfx_edid;
mod index;
mod info_error;
mod irq_bind;
mod irq_capability;
mod irq_info;
mod irq_operation;
mod irq_set;
mod irq_set_header;
mod pci_irqs;
mod platform_irqs;
#[cfg(test)]
mod proptests;
mod refresh;
mod region_capability;
mod region_info;
mod wire;

pub use capability::RawCapability;
pub use chain::ARGSZ_MAX;
pub use chain::CAPABILITIES_MAX;
pub use device::Device;
pub use device::IrqSetAnswer;
pub use device::UNSUPPORTED_REQUEST;
pub use device_info::DeviceInfo;
pub use edid::Edid;
pub use edid::EdidError;
pub use edid::Mode;
pub use edid::MonitorDescription;
pub use edid::MonitorError;
pub use errno::Errno;
pub use flags::DeviceFlags;
pub use flags::GfxPlaneFlags;
pub use flags::IrqFlags;
pub use flags::IrqSetFlags;
pub use flags::PlaneMask;
pub use flags::RegionFlags;
pub use gfx::DmabufId;
pub use gfx::GfxPlaneInfo;
pub use gfx::GfxRequest;
pub use gfx::GfxSurface;
pub use gfx::GfxTransport;
pub use gfx::HOTSPOT_UNKNOWN;
pub use gfx::PlaneType;
pub use gfx_edid::GfxEdid;
pub use gfx_edid::GfxEdidField;
pub use gfx_edid::LinkState;
pub use index::IrqIndex;
pub use index::RegionIndex;
pub use info_error::InfoError;
pub use irq_bind::IrqBind;
pub use irq_capability::DisplayEvent;
pub use irq_capability::DisplayEventKind;
pub use irq_capability::IrqCapability;
pub use irq_capability::IrqType;
pub use irq_capability::MsiDescriptor;
pub use irq_info::IrqInfo;
pub use irq_operation::IrqOperation;
pub use irq_operation::block_set_irqs;
pub use irq_set::IrqAction;
pub use irq_set::IrqData;
pub use irq_set::IrqDataKind;
pub use irq_set::IrqSet;
pub use irq_set_header::IrqLimits;
pub use irq_set_header::IrqPayload;
pub use irq_set_header::IrqSetHeader;
pub use irq_set_header::RawFds;
pub use irq_set_header::ValidatedHeader;
pub use pci_irqs::IntxLine;
pub use pci_irqs::PciIrqState;
pub use pci_irqs::SingleTrigger;
pub use pci_irqs::VectorGrowth;
pub use pci_irqs::pci_set_irqs;
pub use platform_irqs::PlatformIrqState;
pub use platform_irqs::platform_set_irqs;
pub use refresh::Refresh;
pub use refresh::RefreshError;
pub use region_capability::RegionCapability;
pub use region_capability::RegionType;
pub use region_capability::SparseArea;
pub use region_info::RegionInfo;
