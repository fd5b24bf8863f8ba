//! What a well-formed request comes to, and the rules for an index of the device's own.

use crate::errno::Errno;
use crate::flags::IrqFlags;
use crate::irq_set::IrqAction;
use crate::irq_set::IrqDataKind;
use crate::irq_set_header::ValidatedHeader;

/// What a request comes to, once it has been found right.
///
/// What is done at once is done to the whole range, or where the payload's byte is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IrqOperation {
    /// Unbind all sub-indexes and disable the index.
    Disable,
    /// Enable the index with so many vectors, then [`Bind`](Self::Bind); if that fails, disable it.
    Enable {
        /// How many the host has to supply.
        vectors: u32,
    },
    /// Bind the sub-indexes to the payload's eventfds, or unbind where the fd is negative.
    Bind,
    /// Signal what is bound; a sub-index that is not bound is passed over.
    Fire,
    /// Mask now.
    Mask,
    /// Unmask now; a level interrupt that is still asserted fires again.
    Unmask,
    /// Bind the eventfd that masks, or unbind.
    BindMask,
    /// Bind the eventfd that unmasks, or unbind.
    BindUnmask,
}

/// What a request to an index with a type of its own comes to: a display's, or the MSIs of a
/// platform device (`design/irq-info-capabilities.md`).
///
/// `flags` are those of the index. Such an index is independent of all others, and its sub-indexes
/// are of each other.
///
/// # Errors
///
/// ENOTTY if there is not one action, if it is not a maskable index that is to be masked or
/// unmasked, or if this is to be done by eventfd. EINVAL for no sub-index where one is needed:
/// everywhere but in [`IrqOperation::Disable`].
pub fn block_set_irqs(request: &ValidatedHeader, flags: IrqFlags) -> Result<IrqOperation, Errno> {
    let action = request.action()?;
    if action != IrqAction::Trigger
        && (!flags.contains(IrqFlags::MASKABLE) || request.data() == IrqDataKind::Eventfd)
    {
        return Err(Errno::ENOTTY);
    }
    if request.count() == 0 {
        return match (action, request.data()) {
            (IrqAction::Trigger, IrqDataKind::None) => Ok(IrqOperation::Disable),
            _ => Err(Errno::EINVAL),
        };
    }
    Ok(match (action, request.data()) {
        (IrqAction::Mask, _) => IrqOperation::Mask,
        (IrqAction::Unmask, _) => IrqOperation::Unmask,
        (IrqAction::Trigger, IrqDataKind::Eventfd) => IrqOperation::Bind,
        (IrqAction::Trigger, _) => IrqOperation::Fire,
    })
}

#[cfg(test)]
mod tests;
