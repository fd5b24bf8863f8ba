//! What a simulated device is, and what is bound to it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use irqbroker_core::Token;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::IntxLine;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::PciIrqState;
use irqbroker_vfio_abi::RegionInfo;
use irqbroker_vfio_abi::SingleTrigger;
use irqbroker_vfio_abi::VectorGrowth;

use super::config::Config;
use super::line::Fires;
use super::line::Line;
use super::script::Script;
use crate::conformance::KernelProfile;

/// Whose rules the indexes follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bus {
    Pci,
    Platform,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) bus: Bus,
    pub(super) profile: KernelProfile,
    pub(super) info: DeviceInfo,
    pub(super) irqs: Vec<IrqInfo>,
    pub(super) regions: Vec<RegionInfo>,
    pub(super) planes: Vec<GfxPlaneInfo>,
    pub(super) config: Config,
    /// The BAR, which is memory.
    pub(super) bar: Vec<u8>,
    pub(super) intx: IntxLine,
    /// Vectors the host has for the device.
    pub(super) host_vectors: u32,
    /// Vectors that cannot be bound the next time, and why.
    pub(super) refused: Vec<(u32, Errno)>,
    /// A device node that is not bound to an iommufd.
    pub(super) unbound: bool,
    pub(super) gone: bool,
    pub(super) active: Option<IrqIndex>,
    /// Vectors the active index was enabled with, and those added on demand.
    pub(super) vectors: u32,
    pub(super) added: BTreeSet<u32>,
    pub(super) triggers: BTreeMap<(IrqIndex, u32), Token>,
    /// INTx, and all interrupts of a platform device.
    pub(super) lines: BTreeMap<IrqIndex, Line>,
    /// Masked sub-indexes of the device's own indexes, and whether an event waits.
    pub(super) held: BTreeMap<(IrqIndex, u32), bool>,
    pub(super) script: Script,
}

impl State {
    pub(super) fn irq(&self, index: IrqIndex) -> Option<&IrqInfo> {
        self.irqs.iter().find(|irq| irq.index == index)
    }

    /// What vfio-pci looks at.
    pub(super) fn pci(&self, index: IrqIndex) -> PciIrqState {
        let single = |index| match self.triggers.contains_key(&(index, 0)) {
            true => SingleTrigger::Bound,
            false => SingleTrigger::Unbound,
        };
        let fixed = self.profile.fixed_vectors;
        PciIrqState {
            active: self.active,
            vectors: self.vectors,
            growth: match (self.profile.dynamic_msix, index) {
                (true, IrqIndex::MSIX) => VectorGrowth::OnDemand,
                _ => fixed,
            },
            intx: self.intx,
            err: single(IrqIndex::ERR),
            req: single(IrqIndex::REQ),
        }
    }

    /// Acts upon the eventfds that mask and unmask.
    pub(super) fn pump(&mut self) {
        let indexes: Vec<IrqIndex> = self.lines.keys().copied().collect();
        for index in indexes {
            let line = self.lines.entry(index).or_default();
            let (mask, unmask) = line.claim();
            if mask {
                line.masked = true;
            }
            if unmask {
                self.unmask_line(index);
            }
        }
    }

    pub(super) fn unmask_line(&mut self, index: IrqIndex) {
        // The guest's own DisINTx stays whatever the user unmasks.
        if index == IrqIndex::INTX && self.bus == Bus::Pci && self.config.disables_intx() {
            return;
        }
        self.lines.entry(index).or_default().masked = false;
        self.settle_line(index);
    }

    /// Whether the host's interrupt is enabled: INTx while it is the active index, a platform
    /// interrupt while an eventfd is bound.
    pub(super) fn is_requested(&self, index: IrqIndex) -> bool {
        !self.gone
            && match self.bus {
                Bus::Pci => self.active == Some(IrqIndex::INTX) && index == IrqIndex::INTX,
                Bus::Platform => self.triggers.contains_key(&(index, 0)),
            }
    }

    /// The interrupt handler runs if there is something to handle.
    pub(super) fn settle_line(&mut self, index: IrqIndex) {
        if self.is_requested(index) && self.lines.entry(index).or_default().settle() == Fires::Yes {
            self.signal(index, 0);
        }
    }

    pub(super) fn is_masked(&self, index: IrqIndex) -> bool {
        self.lines.get(&index).is_some_and(|line| line.masked)
    }

    /// Signals what is bound; whether something is.
    pub(super) fn signal(&self, index: IrqIndex, sub_index: u32) -> bool {
        let event = self.triggers.get(&(index, sub_index));
        event
            .inspect(|event| super::eventfd::signal(event))
            .is_some()
    }
}
