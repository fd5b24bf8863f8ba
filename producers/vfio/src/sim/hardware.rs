//! What the device does by itself.

use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;

use super::state::Bus;
use super::state::State;

/// What became of an interrupt of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// An eventfd was signalled.
    Signalled,
    /// The sub-index is masked; it is signalled when unmasked.
    Held,
    /// Nothing is bound there.
    Unbound,
    /// A message, which does not leave a device that is no bus master
    /// ([`enable_bus_master`](crate::enable_bus_master)).
    NoBusMaster,
    /// The device is unplugged.
    Gone,
}

impl State {
    pub(super) fn raise(&mut self, index: IrqIndex, sub_index: u32) -> Raised {
        let is_message = self.bus == Bus::Pci && [IrqIndex::MSI, IrqIndex::MSIX].contains(&index);
        if self.gone {
            Raised::Gone
        } else if is_message && !self.config.is_bus_master() {
            Raised::NoBusMaster
        } else {
            self.edge(index, sub_index)
        }
    }

    /// Signals, or remembers one event while the sub-index is masked.
    pub(super) fn edge(&mut self, index: IrqIndex, sub_index: u32) -> Raised {
        if let Some(waits) = self.held.get_mut(&(index, sub_index)) {
            *waits = true;
            Raised::Held
        } else if self.signal(index, sub_index) {
            Raised::Signalled
        } else {
            Raised::Unbound
        }
    }

    pub(super) fn set_line(&mut self, index: IrqIndex, asserted: bool) {
        self.lines.entry(index).or_default().asserted = asserted;
        self.settle_line(index);
    }

    pub(super) fn is_level(&self, index: IrqIndex) -> bool {
        let irq = self.irq(index);
        irq.is_some_and(|irq| irq.flags.contains(IrqFlags::AUTOMASKED))
    }

    /// Whether the index is one of the device's own, with a type that says what it is for.
    pub(super) fn is_own(&self, index: IrqIndex) -> bool {
        self.irq(index).is_some_and(|irq| irq.irq_type().is_some())
    }
}
