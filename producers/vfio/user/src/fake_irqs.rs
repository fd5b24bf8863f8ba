//! The interrupts of the device that does nothing.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqDataKind;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqLimits;
use irqbroker_vfio_abi::IrqOperation;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::PciIrqState;
use irqbroker_vfio_abi::SingleTrigger;
use irqbroker_vfio_abi::block_set_irqs;
use irqbroker_vfio_abi::pci_set_irqs;

/// A request to set interrupts that a [`FakeDevice`] was asked, right or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FakeIrqSet {
    /// The index.
    pub index: IrqIndex,
    /// The first sub-index.
    pub start: u32,
    /// How many.
    pub count: u32,
    /// What was to be done.
    pub action: IrqAction,
    /// With what.
    pub data: IrqDataKind,
}

/// What is bound, by vfio-pci's rules, and what was asked.
#[derive(Debug, Default)]
pub(crate) struct FakeIrqs {
    state: PciIrqState,
    pub(crate) bound: BTreeMap<(IrqIndex, u32), OwnedFd>,
    pub(crate) sets: Vec<FakeIrqSet>,
    /// The vector that the host cannot supply.
    pub(crate) missing: Option<u32>,
}

impl FakeIrqs {
    pub(crate) fn set(
        &mut self,
        request: &IrqSet<'_>,
        limits: IrqLimits,
        flags: IrqFlags,
    ) -> Result<(), Errno> {
        self.sets.push(FakeIrqSet {
            index: request.index,
            start: request.start,
            count: request.count(),
            action: request.action,
            data: request.data.kind(),
        });
        let valid = request.header().validate(limits)?;
        let operation = if request.index.0 < IrqIndex::PCI_NUM {
            pci_set_irqs(&valid, &self.state)?
        } else {
            block_set_irqs(&valid, flags)?
        };
        self.apply(operation, request)
    }

    /// Signals what is bound to a sub-index.
    ///
    /// # Errors
    ///
    /// ENOENT if there is nothing.
    pub(crate) fn fire(&self, index: IrqIndex, sub_index: u32) -> Result<(), Errno> {
        let eventfd = self.bound.get(&(index, sub_index)).ok_or(Errno::ENOENT)?;
        rustix::io::write(eventfd, &1u64.to_ne_bytes())?;
        Ok(())
    }

    fn disable(&mut self, index: IrqIndex) {
        self.bound.retain(|&(bound, _), _| bound != index);
        if self.state.active == Some(index) {
            self.state.active = None;
            self.state.vectors = 0;
        }
    }

    fn bind(&mut self, request: &IrqSet<'_>) -> Result<(), Errno> {
        let IrqData::Eventfds(fds) = request.data else {
            return Ok(());
        };
        for (sub_index, fd) in (request.start..).zip(fds) {
            let key = (request.index, sub_index);
            let Some(fd) = fd else {
                self.bound.remove(&key);
                continue;
            };
            let vector = [IrqIndex::MSI, IrqIndex::MSIX].contains(&request.index);
            let allowed = if self.missing == Some(sub_index) {
                Err(Errno::ENOSPC)
            } else if vector {
                self.state.may_bind(sub_index)
            } else {
                Ok(())
            };
            let eventfd = fd.try_clone_to_owned().map_err(|_| Errno::EMFILE);
            match allowed.and(eventfd) {
                Ok(eventfd) => drop(self.bound.insert(key, eventfd)),
                Err(errno) => {
                    for sub_index in request.start..=sub_index {
                        self.bound.remove(&(request.index, sub_index));
                    }
                    return Err(errno);
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, operation: IrqOperation, request: &IrqSet<'_>) -> Result<(), Errno> {
        match operation {
            IrqOperation::Disable => self.disable(request.index),
            IrqOperation::Enable { vectors } => {
                self.state.active = Some(request.index);
                self.state.vectors = vectors;
                self.bind(request).inspect_err(|_| {
                    // Refused at once: there is nothing else that is bound.
                    self.state.active = None;
                })?;
            }
            IrqOperation::Bind => self.bind(request)?,
            IrqOperation::Fire => {
                for sub_index in request.start..request.start + request.count() {
                    if let Some(eventfd) = self.bound.get(&(request.index, sub_index)) {
                        rustix::io::write(eventfd, &1u64.to_ne_bytes())?;
                    }
                }
            }
            IrqOperation::Mask
            | IrqOperation::Unmask
            | IrqOperation::BindMask
            | IrqOperation::BindUnmask => {}
        }
        let single = |index| match self.bound.contains_key(&(index, 0)) {
            true => SingleTrigger::Bound,
            false => SingleTrigger::Unbound,
        };
        self.state.err = single(IrqIndex::ERR);
        self.state.req = single(IrqIndex::REQ);
        Ok(())
    }
}
