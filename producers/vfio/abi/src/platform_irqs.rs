//! What vfio-platform answers to a request (`drivers/vfio/platform/vfio_platform_irq.c`).
//!
//! An index is one interrupt. A level interrupt is maskable and automasked; an edge is neither.

use crate::errno::Errno;
use crate::flags::IrqFlags;
use crate::irq_operation::IrqOperation;
use crate::irq_set::IrqAction;
use crate::irq_set::IrqDataKind;
use crate::irq_set_header::ValidatedHeader;

/// What vfio-platform's answer depends on, beside the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlatformIrqState {
    /// Flags of the requested index.
    pub flags: IrqFlags,
    /// How the interrupt was taken from the host when the device was opened. An error then is
    /// answered now, to everything.
    pub requested: Result<(), Errno>,
}

/// What a request comes to on vfio-platform, checked before against
/// [`IrqLimits::platform`](crate::IrqLimits::platform).
///
/// # Errors
///
/// The error the interrupt could not be had with. ENOTTY if there is not one action. EINVAL for
/// another range than sub-index 0, or to mask or unmask an edge.
pub fn platform_set_irqs(
    request: &ValidatedHeader,
    state: &PlatformIrqState,
) -> Result<IrqOperation, Errno> {
    state.requested?;
    let action = request.action()?;
    let eventfd = request.data() == IrqDataKind::Eventfd;
    let disable = request.data() == IrqDataKind::None && request.count() == 0;
    if action == IrqAction::Trigger && disable {
        return Ok(IrqOperation::Disable);
    }
    if request.start() != 0 || request.count() != 1 {
        return Err(Errno::EINVAL);
    }
    if action != IrqAction::Trigger && !state.flags.contains(IrqFlags::MASKABLE) {
        return Err(Errno::EINVAL);
    }
    Ok(match (action, eventfd) {
        (IrqAction::Mask, false) => IrqOperation::Mask,
        (IrqAction::Mask, true) => IrqOperation::BindMask,
        (IrqAction::Unmask, false) => IrqOperation::Unmask,
        (IrqAction::Unmask, true) => IrqOperation::BindUnmask,
        (IrqAction::Trigger, false) => IrqOperation::Fire,
        (IrqAction::Trigger, true) => IrqOperation::Bind,
    })
}

#[cfg(test)]
mod tests;
