//! How often the interrupts of kernel devices fire, as the host counts them.

use irqbroker_vfio::HostIrqs;

/// Somebody who counts interrupts that the kernel delivers, which nobody in this process sees.
pub trait CountInterrupts: Send + Sync {
    /// The counts now, the name of a device being what it was added as; what is not in it is not
    /// known.
    fn read(&self) -> HostIrqs;
}

/// `/proc/interrupts`, for devices that were added under their PCI address (`0000:01:00.0`).
///
/// One read a look.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcInterrupts;

impl CountInterrupts for ProcInterrupts {
    fn read(&self) -> HostIrqs {
        HostIrqs::read().unwrap_or_else(|error| {
            tracing::debug!(%error, "/proc/interrupts");
            HostIrqs::default()
        })
    }
}
