//! The eventfds bound to a device's interrupts, and the requests that bind them.

mod saved;

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqLimits;
use irqbroker_vfio_abi::IrqOperation;
use irqbroker_vfio_abi::PciIrqState;
use irqbroker_vfio_abi::SingleTrigger;
use irqbroker_vfio_abi::VectorGrowth;
use irqbroker_vfio_abi::block_set_irqs;
use irqbroker_vfio_abi::pci_set_irqs;

pub(crate) use crate::device::bindings::saved::SavedSlot;
use crate::device::irq_request::Eventfd;
use crate::device::irq_request::IrqRequest;
use crate::head_event::HeadEvent;
use crate::head_events::Opened;
use crate::trigger::Trigger;

/// The display's interrupt: the first of the device's own. To be found by its type.
pub(crate) const DISPLAY: IrqIndex = IrqIndex(IrqIndex::PCI_NUM);
/// How many indexes there are.
pub(crate) const NUM_IRQS: u32 = DISPLAY.0 + 1;
/// What the display's events are like: edges, each with a mask.
pub(crate) const DISPLAY_FLAGS: IrqFlags = IrqFlags::EVENTFD.union(IrqFlags::MASKABLE);

/// What a request changed for whoever waits on a sub-index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// A sub-index of the display's interrupt listens.
    DisplayOpened(usize, Opened),
    /// It does not.
    DisplayClosed(usize),
    /// A vector has another eventfd.
    VectorBound(usize),
    /// It has none.
    VectorUnbound(usize),
}

#[derive(Debug, Default)]
struct DisplaySlot {
    trigger: Option<Trigger>,
    masked: bool,
    /// Fired by user space while masked.
    fired: bool,
}

/// All bindings of a device.
#[derive(Debug)]
pub(crate) struct Bindings {
    pci: PciIrqState,
    vectors: Vec<Option<Trigger>>,
    display: Vec<DisplaySlot>,
    err: Option<Trigger>,
    req: Option<Trigger>,
}

impl Bindings {
    pub(crate) fn new(heads: usize, vectors: usize) -> Self {
        Self {
            pci: PciIrqState {
                growth: VectorGrowth::OnDemand,
                ..PciIrqState::default()
            },
            vectors: std::iter::repeat_with(|| None).take(vectors).collect(),
            display: std::iter::repeat_with(DisplaySlot::default)
                .take(heads * HeadEvent::COUNT)
                .collect(),
            err: None,
            req: None,
        }
    }

    /// How many sub-indexes an index has; 0 for one the device lacks.
    pub(crate) fn count(&self, index: IrqIndex) -> u32 {
        let len = match index {
            IrqIndex::MSIX => self.vectors.len(),
            IrqIndex::ERR | IrqIndex::REQ => 1,
            DISPLAY => self.display.len(),
            _ => 0,
        };
        // At most MAX_HEADS times the events of a head.
        u32::try_from(len).unwrap_or(0)
    }

    /// Does what a request asks for, and appends what changed; on an error too, as far as it got.
    pub(crate) fn set(
        &mut self,
        set: IrqRequest<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Errno> {
        let index = set.header.index;
        let limits = IrqLimits {
            num_irqs: NUM_IRQS,
            count: self.count(index),
        };
        let request = set.header.validate(limits)?;
        if index == DISPLAY {
            let operation = block_set_irqs(&request, DISPLAY_FLAGS)?;
            return self.set_display(operation, set, changes);
        }
        let operation = pci_set_irqs(&request, &self.pci)?;
        match index {
            IrqIndex::MSIX => self.set_msix(operation, set, changes),
            IrqIndex::ERR => set_single(operation, set, &mut self.err, &mut self.pci.err),
            IrqIndex::REQ => set_single(operation, set, &mut self.req, &mut self.pci.req),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(crate) fn signal_display(&self, sub_index: usize) {
        if let Some(trigger) = self
            .display
            .get(sub_index)
            .and_then(|slot| slot.trigger.as_ref())
        {
            trigger.signal();
        }
    }

    pub(crate) fn signal_vector(&self, vector: usize) {
        if let Some(Some(trigger)) = self.vectors.get(vector) {
            trigger.signal();
        }
    }

    pub(crate) fn is_vector_bound(&self, vector: usize) -> bool {
        matches!(self.vectors.get(vector), Some(Some(_)))
    }

    /// Returns whether somebody was told.
    pub(crate) fn signal_err(&self) -> bool {
        self.err.as_ref().map(Trigger::signal).is_some()
    }

    /// Returns whether somebody was told.
    pub(crate) fn signal_req(&self) -> bool {
        self.req.as_ref().map(Trigger::signal).is_some()
    }

    fn set_msix(
        &mut self,
        operation: IrqOperation,
        set: IrqRequest<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Errno> {
        match operation {
            IrqOperation::Enable { vectors } => {
                self.pci.active = Some(IrqIndex::MSIX);
                self.pci.vectors = vectors;
                let bound = self.bind_vectors(set, changes);
                if bound.is_err() {
                    self.disable_msix(changes);
                }
                bound
            }
            IrqOperation::Bind => self.bind_vectors(set, changes),
            IrqOperation::Disable => {
                self.disable_msix(changes);
                Ok(())
            }
            IrqOperation::Fire => {
                for vector in set.chosen() {
                    self.signal_vector(vector);
                }
                Ok(())
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn disable_msix(&mut self, changes: &mut Vec<Change>) {
        self.pci.active = None;
        self.pci.vectors = 0;
        for (vector, bound) in self.vectors.iter_mut().enumerate() {
            if bound.take().is_some() {
                changes.push(Change::VectorUnbound(vector));
            }
        }
    }

    /// Binds one by one, as vfio-pci does: at the first that fails, it and those before it are
    /// left unbound.
    fn bind_vectors(
        &mut self,
        set: IrqRequest<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Errno> {
        let start = set.start();
        for (vector, event) in (start..).zip(set.into_eventfds()) {
            let trigger = self
                .pci
                .may_bind(narrow(vector))
                .and_then(|()| event.map(Eventfd::keep).transpose());
            let trigger = match trigger {
                Ok(trigger) => trigger,
                Err(error) => {
                    for undone in start..=vector {
                        self.vectors[undone] = None;
                        changes.push(Change::VectorUnbound(undone));
                    }
                    return Err(error);
                }
            };
            changes.push(match trigger {
                Some(_) => Change::VectorBound(vector),
                None => Change::VectorUnbound(vector),
            });
            self.vectors[vector] = trigger;
            self.pci.vectors = self.pci.vectors.max(narrow(vector) + 1);
        }
        Ok(())
    }

    fn set_display(
        &mut self,
        operation: IrqOperation,
        set: IrqRequest<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Errno> {
        match operation {
            IrqOperation::Disable => {
                for (sub_index, slot) in self.display.iter_mut().enumerate() {
                    *slot = DisplaySlot::default();
                    changes.push(Change::DisplayClosed(sub_index));
                }
            }
            IrqOperation::Bind => return self.bind_display(set, changes),
            IrqOperation::Fire => {
                for sub_index in set.chosen() {
                    let slot = &mut self.display[sub_index];
                    match &slot.trigger {
                        Some(_) if slot.masked => slot.fired = true,
                        Some(trigger) => trigger.signal(),
                        None => {}
                    }
                }
            }
            IrqOperation::Mask => {
                for sub_index in set.chosen() {
                    self.display[sub_index].masked = true;
                    changes.push(Change::DisplayClosed(sub_index));
                }
            }
            IrqOperation::Unmask => {
                for sub_index in set.chosen() {
                    let slot = &mut self.display[sub_index];
                    slot.masked = false;
                    let fired = std::mem::take(&mut slot.fired);
                    if let Some(trigger) = &slot.trigger {
                        // An event of the device's own is told by the same signal.
                        if fired {
                            trigger.signal();
                        }
                        let since = if fired { Opened::Anew } else { Opened::Again };
                        changes.push(Change::DisplayOpened(sub_index, since));
                    }
                }
            }
            _ => return Err(Errno::ENOTTY),
        }
        Ok(())
    }

    /// Binds all or none.
    fn bind_display(
        &mut self,
        set: IrqRequest<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Errno> {
        let start = set.start();
        let triggers = set
            .into_eventfds()
            .map(|event| event.map(Eventfd::keep).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        for (sub_index, trigger) in (start..).zip(triggers) {
            let slot = &mut self.display[sub_index];
            if trigger.is_some() {
                // Behind a mask too: what has happened so far is not the new eventfd's.
                changes.push(Change::DisplayOpened(sub_index, Opened::Anew));
            }
            if trigger.is_none() || slot.masked {
                changes.push(Change::DisplayClosed(sub_index));
            }
            slot.fired = false;
            slot.trigger = trigger;
        }
        Ok(())
    }
}

/// ERR and REQ. A refused eventfd leaves the old one bound.
fn set_single(
    operation: IrqOperation,
    set: IrqRequest<'_>,
    bound: &mut Option<Trigger>,
    state: &mut SingleTrigger,
) -> Result<(), Errno> {
    match operation {
        IrqOperation::Disable => *bound = None,
        IrqOperation::Bind => {
            let event = set.into_eventfds().next().ok_or(Errno::EINVAL)?;
            *bound = event.map(Eventfd::keep).transpose()?;
        }
        IrqOperation::Fire => {
            if set.chosen().next().is_some()
                && let Some(trigger) = bound
            {
                trigger.signal();
            }
        }
        _ => return Err(Errno::EINVAL),
    }
    *state = match bound {
        Some(_) => SingleTrigger::Bound,
        None => SingleTrigger::Unbound,
    };
    Ok(())
}

/// A place in a list as a sub-index.
fn narrow(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
