//! Setting interrupts, as a server takes it, and what a client has bound by it.
//!
//! `VFIO_USER_DEVICE_SET_IRQS` is VFIO's request but for its eventfds. These are sent beside it,
//! all or none: a request for eventfds without any unbinds its range, or enables the index with
//! nothing bound. Its `argsz` does not count them.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqBind;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqDataKind;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqLimits;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::IrqSetFlags;
use irqbroker_vfio_abi::IrqSetHeader;

/// The indexes that a client has bound eventfds of.
#[derive(Debug, Default)]
pub(crate) struct IrqBindings {
    /// At most as many as the device has.
    indexes: BTreeSet<IrqIndex>,
}

impl IrqBindings {
    /// Serves a request.
    ///
    /// # Errors
    ///
    /// EINVAL if it does not fit the device, if its fds are neither one a sub-index nor none, or
    /// if its bools are not one a sub-index. ENOTTY if it is not one action. ENOSPC if the host
    /// has fewer vectors, for which the protocol has no other answer. Else those of the device.
    pub(crate) fn set(
        &mut self,
        device: &dyn Device,
        payload: &[u8],
        fds: Vec<OwnedFd>,
    ) -> Result<(), Errno> {
        let mut header = IrqSetHeader::decode(payload).map_err(|_| Errno::EINVAL)?;
        let kind = header.flags & IrqSetFlags::DATA_TYPE_MASK;
        if kind == IrqSetFlags::DATA_EVENTFD && argsz_holds_header(header.argsz) {
            header.argsz = u32::MAX;
        }
        let limits = IrqLimits {
            num_irqs: device.info()?.num_irqs,
            count: device.irq_info(header.index)?.count,
        };
        let request = header.validate(limits)?;
        let action = request.action()?;
        let at_once = |data| IrqSet {
            index: request.index(),
            start: request.start(),
            action,
            data,
        };
        let data = payload.get(IrqSetHeader::SIZE..).unwrap_or_default();
        let count = usize::try_from(request.count()).map_err(|_| Errno::EINVAL)?;
        if request.data() != IrqDataKind::Eventfd && !fds.is_empty() {
            return Err(Errno::EINVAL);
        }
        let answer = match request.data() {
            IrqDataKind::Eventfd => {
                let eventfds: Vec<Option<OwnedFd>> = match fds.len() {
                    0 => std::iter::repeat_with(|| None).take(count).collect(),
                    len if len == count => fds.into_iter().map(Some).collect(),
                    _ => return Err(Errno::EINVAL),
                };
                // Before the call: one that fails may have bound some.
                self.indexes.insert(request.index());
                device.bind_irqs(IrqBind {
                    index: request.index(),
                    start: request.start(),
                    action,
                    eventfds,
                })?
            }
            IrqDataKind::Bool if data.len() != count => return Err(Errno::EINVAL),
            IrqDataKind::Bool => {
                let bools: Vec<bool> = data.iter().map(|&byte| byte != 0).collect();
                device.set_irqs(&at_once(IrqData::Bool(&bools)))?
            }
            IrqDataKind::None => device.set_irqs(&at_once(IrqData::None {
                count: request.count(),
            }))?,
        };
        if let IrqSetAnswer::Fewer(_) = answer {
            return Err(Errno::ENOSPC);
        }
        let disables = request.data() == IrqDataKind::None && count == 0;
        if action == IrqAction::Trigger && disables {
            self.indexes.remove(&request.index());
        }
        Ok(())
    }

    /// Unbinds all that the client has bound.
    pub(crate) fn release(&mut self, device: &dyn Device) {
        while let Some(index) = self.indexes.pop_first() {
            if let Err(error) = device.set_irqs(&IrqSet::disable(index)) {
                // So it is with an index whose every bind was refused.
                tracing::debug!(%index, ?error, "index of a client that is gone");
            }
        }
    }
}

fn argsz_holds_header(argsz: u32) -> bool {
    usize::try_from(argsz).is_ok_and(|argsz| argsz >= IrqSetHeader::SIZE)
}
