//! What vfio-pci answers to a request, index by index (`drivers/vfio/pci/vfio_pci_intrs.c`).
//!
//! | index | MASK | UNMASK | TRIGGER |
//! |---|---|---|---|
//! | INTx | now | now, by eventfd | now, by eventfd, off |
//! | MSI, MSI-X | ENOTTY | ENOTTY | now, by eventfd, off |
//! | ERR, REQ | ENOTTY | ENOTTY | now, by eventfd, off |

use crate::errno::Errno;
use crate::index::IrqIndex;
use crate::irq_operation::IrqOperation;
use crate::irq_set::IrqAction;
use crate::irq_set::IrqDataKind;
use crate::irq_set_header::ValidatedHeader;

/// What vfio-pci's answer depends on, beside the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PciIrqState {
    /// Which of INTx, MSI and MSI-X is enabled; never two.
    pub active: Option<IrqIndex>,
    /// How many vectors the active index was enabled with, and what has been added since.
    pub vectors: u32,
    /// What becomes of vectors beyond these.
    pub growth: VectorGrowth,
    /// Whether there is a line behind INTx.
    pub intx: IntxLine,
    /// What ERR has.
    pub err: SingleTrigger,
    /// What REQ has.
    pub req: SingleTrigger,
}

/// What becomes of a vector that the index was not enabled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VectorGrowth {
    /// A request that reaches there is refused. Kernels before 6.5.
    RequestRefused,
    /// Binding it is refused, unbinding and firing pass over it. Later kernels, for MSI and
    /// wherever MSI-X is [`NORESIZE`](crate::IrqFlags::NORESIZE).
    BindRefused,
    /// Binding it allocates it. Later kernels, for other MSI-X.
    OnDemand,
}

/// Whether a device that has INTx has a line for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntxLine {
    /// It has.
    Connected,
    /// The platform did not connect it.
    NotConnected,
}

/// Whether ERR or REQ has an eventfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SingleTrigger {
    /// None.
    Unbound,
    /// One.
    Bound,
}

impl Default for PciIrqState {
    /// A device just opened, on a kernel since 6.5 without MSI-X vectors on demand.
    fn default() -> Self {
        Self {
            active: None,
            vectors: 0,
            growth: VectorGrowth::BindRefused,
            intx: IntxLine::Connected,
            err: SingleTrigger::Unbound,
            req: SingleTrigger::Unbound,
        }
    }
}

impl PciIrqState {
    /// Whether [`IrqOperation::Bind`] may bind an eventfd to `vector` of the active index.
    ///
    /// # Errors
    ///
    /// EINVAL if it was not enabled and cannot be added.
    pub fn may_bind(&self, vector: u32) -> Result<(), Errno> {
        let on_demand =
            self.growth == VectorGrowth::OnDemand && self.active == Some(IrqIndex::MSIX);
        if vector < self.vectors || on_demand {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }
}

/// What a request comes to on vfio-pci.
///
/// Errors of the fds themselves come later, when they are bound: EBADF, EINVAL if one is no
/// eventfd, EBUSY for a second eventfd to unmask INTx with.
///
/// # Errors
///
/// ENOTTY if the index lacks the action, or INTx is to be masked by eventfd. EINVAL if another of
/// INTx, MSI and MSI-X is enabled, if the index is not and would have to be, or for another range
/// than sub-index 0 of an index that has but that. ENODEV if INTx has no line. ERANGE if MSI or
/// MSI-X is to be enabled with no vector.
pub fn pci_set_irqs(request: &ValidatedHeader, state: &PciIrqState) -> Result<IrqOperation, Errno> {
    let action = request.action();
    match (request.index(), action) {
        (IrqIndex::INTX, Ok(IrqAction::Mask)) => intx_mask(request, state),
        (IrqIndex::INTX, Ok(IrqAction::Unmask)) => intx_unmask(request, state),
        (IrqIndex::INTX, Ok(IrqAction::Trigger)) => intx_trigger(request, state),
        (IrqIndex::MSI | IrqIndex::MSIX, Ok(IrqAction::Trigger)) => msi_trigger(request, state),
        (IrqIndex::ERR, Ok(IrqAction::Trigger)) => single_trigger(request, state.err),
        (IrqIndex::REQ, Ok(IrqAction::Trigger)) => single_trigger(request, state.req),
        _ => Err(Errno::ENOTTY),
    }
}

/// The line is masked and unmasked only while INTx is enabled.
fn intx_enabled(request: &ValidatedHeader, state: &PciIrqState) -> Result<(), Errno> {
    if state.active != Some(IrqIndex::INTX) || !is_the_one(request) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

fn intx_mask(request: &ValidatedHeader, state: &PciIrqState) -> Result<IrqOperation, Errno> {
    intx_enabled(request, state)?;
    match request.data() {
        IrqDataKind::None | IrqDataKind::Bool => Ok(IrqOperation::Mask),
        IrqDataKind::Eventfd => Err(Errno::ENOTTY),
    }
}

fn intx_unmask(request: &ValidatedHeader, state: &PciIrqState) -> Result<IrqOperation, Errno> {
    intx_enabled(request, state)?;
    match request.data() {
        IrqDataKind::None | IrqDataKind::Bool => Ok(IrqOperation::Unmask),
        IrqDataKind::Eventfd => Ok(IrqOperation::BindUnmask),
    }
}

fn intx_trigger(request: &ValidatedHeader, state: &PciIrqState) -> Result<IrqOperation, Errno> {
    if is_disable(request) && state.active == Some(IrqIndex::INTX) {
        return Ok(IrqOperation::Disable);
    }
    if !is_the_one(request) {
        return Err(Errno::EINVAL);
    }
    match (state.active, request.data()) {
        (Some(IrqIndex::INTX), IrqDataKind::Eventfd) => Ok(IrqOperation::Bind),
        (Some(IrqIndex::INTX), _) => Ok(IrqOperation::Fire),
        (None, IrqDataKind::Eventfd) => match state.intx {
            IntxLine::Connected => Ok(IrqOperation::Enable { vectors: 1 }),
            IntxLine::NotConnected => Err(Errno::ENODEV),
        },
        _ => Err(Errno::EINVAL),
    }
}

fn msi_trigger(request: &ValidatedHeader, state: &PciIrqState) -> Result<IrqOperation, Errno> {
    let enabled = state.active == Some(request.index());
    if is_disable(request) && enabled {
        return Ok(IrqOperation::Disable);
    }
    match (state.active, request.data()) {
        (None, IrqDataKind::Eventfd) => match request.end() {
            // The PCI core is asked for at least one vector and at most none.
            0 => Err(Errno::ERANGE),
            vectors => Ok(IrqOperation::Enable { vectors }),
        },
        _ if !enabled => Err(Errno::EINVAL),
        (_, data) => {
            let bind = data == IrqDataKind::Eventfd;
            let beyond =
                request.end() > state.vectors || (bind && request.start() >= state.vectors);
            if beyond && state.growth == VectorGrowth::RequestRefused {
                return Err(Errno::EINVAL);
            }
            Ok(if bind {
                IrqOperation::Bind
            } else {
                IrqOperation::Fire
            })
        }
    }
}

/// ERR and REQ, which are independent of the others. Their range has been checked against a count
/// of 1: it is sub-index 0 or nothing.
fn single_trigger(
    request: &ValidatedHeader,
    trigger: SingleTrigger,
) -> Result<IrqOperation, Errno> {
    match (request.data(), request.count(), trigger) {
        (IrqDataKind::None, _, SingleTrigger::Unbound) => Err(Errno::EINVAL),
        (IrqDataKind::None, 0, SingleTrigger::Bound) => Ok(IrqOperation::Disable),
        (IrqDataKind::None, _, SingleTrigger::Bound) => Ok(IrqOperation::Fire),
        (IrqDataKind::Bool | IrqDataKind::Eventfd, 0, _) => Err(Errno::EINVAL),
        (IrqDataKind::Bool, _, _) => Ok(IrqOperation::Fire),
        (IrqDataKind::Eventfd, _, _) => Ok(IrqOperation::Bind),
    }
}

/// Sub-index 0 alone.
fn is_the_one(request: &ValidatedHeader) -> bool {
    request.start() == 0 && request.count() == 1
}

/// What releases an index, if it is enabled.
fn is_disable(request: &ValidatedHeader) -> bool {
    request.count() == 0 && request.data() == IrqDataKind::None
}

#[cfg(test)]
mod tests;
