//! `VFIO_DEVICE_SET_IRQS`: the rules are the ABI's, what they come to is here.

use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqLimits;
use irqbroker_vfio_abi::IrqOperation;
use irqbroker_vfio_abi::IrqPayload;
use irqbroker_vfio_abi::IrqSetHeader;
use irqbroker_vfio_abi::PlatformIrqState;
use irqbroker_vfio_abi::ValidatedHeader;
use irqbroker_vfio_abi::block_set_irqs;
use irqbroker_vfio_abi::pci_set_irqs;
use irqbroker_vfio_abi::platform_set_irqs;

use super::eventfd;
use super::state::Bus;
use super::state::State;

/// A request that was found right.
struct Set<'a> {
    process: &'a OwnedFd,
    index: IrqIndex,
    start: u32,
    end: u32,
    payload: IrqPayload<'a>,
}

impl Set<'_> {
    /// Sub-indexes at which it is to be done now.
    fn selected(&self) -> Vec<u32> {
        let all = self.start..self.end;
        match self.payload {
            IrqPayload::Bool(bytes) => {
                let chosen = all.zip(bytes).filter(|(_, byte)| **byte != 0);
                chosen.map(|(sub_index, _)| sub_index).collect()
            }
            _ => all.collect(),
        }
    }

    /// Sub-indexes with the fds they are to be bound to.
    fn fds(&self) -> Vec<(u32, i32)> {
        match self.payload {
            IrqPayload::Eventfds(fds) => (self.start..self.end).zip(fds.iter()).collect(),
            _ => Vec::new(),
        }
    }

    /// The one fd of a line's request.
    fn fd(&self) -> i32 {
        self.fds().first().map_or(-1, |(_, fd)| *fd)
    }
}

impl State {
    pub(super) fn set_irqs(&mut self, process: &OwnedFd, argument: &[u8]) -> Result<u32, Errno> {
        let header = IrqSetHeader::decode(argument)?;
        let num_irqs = self.info.num_irqs;
        let irq = self.irq(header.index);
        let limits = match self.bus {
            Bus::Platform if !self.is_own(header.index) => IrqLimits::platform(num_irqs),
            _ => IrqLimits {
                num_irqs,
                count: irq.map_or(0, |irq| irq.count),
            },
        };
        let valid = header.validate(limits)?;
        let set = Set {
            process,
            index: valid.index(),
            start: valid.start(),
            end: valid.end(),
            payload: valid.payload(argument)?,
        };
        let operation = self.operation(&valid)?;
        self.apply(operation, &set)
    }

    fn operation(&self, valid: &ValidatedHeader) -> Result<IrqOperation, Errno> {
        let irq = self.irq(valid.index()).ok_or(Errno::EINVAL)?;
        if self.is_own(valid.index()) {
            return block_set_irqs(valid, irq.flags);
        }
        match self.bus {
            Bus::Pci => pci_set_irqs(valid, &self.pci(valid.index())),
            Bus::Platform => {
                let state = PlatformIrqState {
                    flags: irq.flags,
                    requested: Ok(()),
                };
                platform_set_irqs(valid, &state)
            }
        }
    }

    fn apply(&mut self, operation: IrqOperation, set: &Set<'_>) -> Result<u32, Errno> {
        match operation {
            IrqOperation::Disable => self.disable(set.index),
            IrqOperation::Enable { vectors } => return self.enable(vectors, set),
            IrqOperation::Bind => self.bind(set)?,
            IrqOperation::Fire => self.fire(set),
            IrqOperation::Mask => self.mask(set),
            IrqOperation::Unmask => self.unmask(set),
            IrqOperation::BindMask => self.bind_virqfd(set, Virqfd::Mask)?,
            IrqOperation::BindUnmask => self.bind_virqfd(set, Virqfd::Unmask)?,
        }
        Ok(0)
    }

    /// INTx, MSI or MSI-X, of which none is enabled.
    fn enable(&mut self, vectors: u32, set: &Set<'_>) -> Result<u32, Errno> {
        if set.index != IrqIndex::INTX && vectors > self.host_vectors {
            return match self.host_vectors {
                0 => Err(Errno::ENOSPC),
                available => Ok(available),
            };
        }
        self.active = Some(set.index);
        self.vectors = vectors;
        if set.index == IrqIndex::INTX {
            let line = self.lines.entry(set.index).or_default();
            line.masked = self.config.disables_intx();
        }
        if let Err(errno) = self.bind(set) {
            self.disable(set.index);
            return Err(errno);
        }
        Ok(0)
    }

    fn disable(&mut self, index: IrqIndex) {
        self.triggers.retain(|(bound, _), _| *bound != index);
        self.held.retain(|(held, _), _| *held != index);
        if self.active == Some(index) {
            self.active = None;
            self.vectors = 0;
            self.added.clear();
            // A platform interrupt keeps its eventfds and its mask; INTx has them no more.
            self.lines.entry(index).and_modify(|line| {
                line.masked = false;
                line.mask = None;
                line.unmask = None;
            });
        }
    }

    fn bind(&mut self, set: &Set<'_>) -> Result<(), Errno> {
        for (sub_index, fd) in set.fds() {
            let bound = match (self.bus, set.index) {
                (Bus::Pci, IrqIndex::MSI | IrqIndex::MSIX) => self.bind_vector(set, sub_index, fd),
                (Bus::Pci, IrqIndex::INTX) => self.bind_intx(set, fd),
                (Bus::Pci, IrqIndex::ERR | IrqIndex::REQ) if fd < -1 => {
                    match self.profile.strict_single_fds {
                        true => Err(Errno::EINVAL),
                        false => Ok(()),
                    }
                }
                (Bus::Pci, IrqIndex::ERR | IrqIndex::REQ) => self.replace(set, sub_index, fd),
                _ => self.bind_after_unbind(set, sub_index, fd),
            };
            if let Err(errno) = bound {
                // As the kernel does: all from the first to the one that failed.
                for taken_back in set.start..=sub_index {
                    if set.index != IrqIndex::INTX && !self.is_single(set.index) {
                        self.triggers.remove(&(set.index, taken_back));
                    }
                }
                return Err(errno);
            }
        }
        self.settle_line(set.index);
        Ok(())
    }

    fn bind_vector(&mut self, set: &Set<'_>, vector: u32, fd: i32) -> Result<(), Errno> {
        self.triggers.remove(&(set.index, vector));
        if fd < 0 {
            return Ok(());
        }
        self.pci(set.index).may_bind(vector)?;
        if vector >= self.vectors && !self.added.contains(&vector) {
            let allocated = u32::try_from(self.added.len()).unwrap_or(u32::MAX);
            if self.vectors.saturating_add(allocated) >= self.host_vectors {
                return Err(Errno::ENOSPC);
            }
            self.added.insert(vector);
        }
        let event = eventfd::hold(set.process, fd)?;
        let mut refused = self.refused.iter();
        if let Some(at) = refused.position(|(refused, _)| *refused == vector) {
            return Err(self.refused.remove(at).1);
        }
        self.triggers.insert((set.index, vector), event);
        Ok(())
    }

    fn bind_intx(&mut self, set: &Set<'_>, fd: i32) -> Result<(), Errno> {
        if self.profile.persistent_intx {
            self.replace(set, 0, fd)
        } else {
            self.bind_after_unbind(set, 0, fd)
        }
    }

    /// An fd that is refused leaves the one that was bound.
    fn replace(&mut self, set: &Set<'_>, sub_index: u32, fd: i32) -> Result<(), Errno> {
        let event = match fd {
            ..0 => None,
            fd => Some(eventfd::hold(set.process, fd)?),
        };
        let at = (set.index, sub_index);
        match event {
            Some(event) => self.triggers.insert(at, event),
            None => self.triggers.remove(&at),
        };
        Ok(())
    }

    /// An fd that is refused has already cost the one that was bound.
    fn bind_after_unbind(&mut self, set: &Set<'_>, sub_index: u32, fd: i32) -> Result<(), Errno> {
        self.triggers.remove(&(set.index, sub_index));
        self.replace(set, sub_index, fd)
    }

    fn fire(&mut self, set: &Set<'_>) {
        for sub_index in set.selected() {
            if self.bus == Bus::Platform && !self.is_own(set.index) && self.is_level(set.index) {
                // The loopback runs the interrupt handler, which masks.
                let line = self.lines.entry(set.index).or_default();
                if std::mem::replace(&mut line.masked, true) {
                    continue;
                }
            }
            let off =
                set.index == IrqIndex::INTX && self.bus == Bus::Pci && self.config.disables_intx();
            if !off {
                self.edge(set.index, sub_index);
            }
        }
    }

    fn mask(&mut self, set: &Set<'_>) {
        for sub_index in set.selected() {
            if self.is_own(set.index) {
                self.held.entry((set.index, sub_index)).or_insert(false);
            } else {
                self.lines.entry(set.index).or_default().masked = true;
            }
        }
    }

    fn unmask(&mut self, set: &Set<'_>) {
        for sub_index in set.selected() {
            if !self.is_own(set.index) {
                self.unmask_line(set.index);
            } else if self.held.remove(&(set.index, sub_index)) == Some(true) {
                self.signal(set.index, sub_index);
            }
        }
    }

    fn bind_virqfd(&mut self, set: &Set<'_>, which: Virqfd) -> Result<(), Errno> {
        let event = match set.fd() {
            ..0 => None,
            fd => Some(eventfd::hold(set.process, fd)?),
        };
        let line = self.lines.entry(set.index).or_default();
        let place = match which {
            Virqfd::Mask => &mut line.mask,
            Virqfd::Unmask => &mut line.unmask,
        };
        match event {
            Some(_) if place.is_some() => return Err(Errno::EBUSY),
            // What stands in it is acted upon now.
            Some(event) => *place = Some(event),
            None => {
                // The kernel drains the counter as it lets go.
                if let Some(event) = place.take() {
                    eventfd::claim(&event);
                }
            }
        }
        self.pump();
        Ok(())
    }

    fn is_single(&self, index: IrqIndex) -> bool {
        self.bus == Bus::Pci && [IrqIndex::ERR, IrqIndex::REQ].contains(&index)
    }
}

/// Which of a line's two eventfds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Virqfd {
    Mask,
    Unmask,
}
