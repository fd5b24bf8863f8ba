//! One sub-index of a VFIO device as a producer.

use std::fmt;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker_core::ConsumerInfo;
use irqbroker_core::Mask;
use irqbroker_core::Masking;
use irqbroker_core::MsiMessage;
use irqbroker_core::PeerError;
use irqbroker_core::Producer;
use irqbroker_core::ProducerInfo;
use irqbroker_core::ResampleBinding;
use irqbroker_core::ResampleEvent;
use irqbroker_core::Token;
use irqbroker_core::Trigger;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSet;
use rustix::event::EventfdFlags;

use crate::producer_device::ProducerDevice;
use crate::producer_error::EventfdError;
use crate::producer_error::ProducerError;

/// A sub-index of an index, from the binding of its eventfd to its unbinding.
///
/// Its token is that eventfd's. Once another is bound, or none, the producer is retired: it
/// refuses consumers and touches the device no more.
pub struct VfioProducer {
    device: Arc<ProducerDevice>,
    name: String,
    index: IrqIndex,
    sub_index: u32,
    info: ProducerInfo,
    token: Token,
    /// Taken under a link's lock, or under its index's. Held across requests to the device, so
    /// that a consumer cannot come while the eventfd is being replaced.
    gate: Mutex<Gate>,
}

#[derive(Debug, Default)]
pub(crate) struct Gate {
    pub(crate) linked: bool,
    pub(crate) retired: bool,
    /// What the device listens to for the guest's EOI; not while masked.
    resample: Option<ResampleEvent>,
    masked: bool,
    /// Somebody was here before, a consumer or another user of the index, and may have left in
    /// the middle of an interrupt: the device waits for an unmask that nobody sends.
    left: bool,
}

impl VfioProducer {
    /// With a new eventfd, which nothing is bound to yet.
    pub(crate) fn new(
        device: &Arc<ProducerDevice>,
        irq: &IrqInfo,
        sub_index: u32,
    ) -> Result<Arc<Self>, EventfdError> {
        let event = new_event(device, irq, sub_index)?;
        let token = Token::adopt(event).map_err(|source| EventfdError::Identify {
            name: name_of(device, irq, sub_index),
            source,
        })?;
        Ok(Self::with_token(device, irq, sub_index, token))
    }

    /// The same for each of these sub-indexes.
    pub(crate) fn new_each(
        device: &Arc<ProducerDevice>,
        irq: &IrqInfo,
        sub_indexes: Range<u32>,
    ) -> Result<Vec<Arc<Self>>, EventfdError> {
        let events = sub_indexes.clone();
        let events = events.map(|sub_index| new_event(device, irq, sub_index));
        let tokens = Token::adopt_each(events.collect::<Result<_, _>>()?).map_err(|source| {
            EventfdError::Identify {
                name: device.index_name(irq.index),
                source,
            }
        })?;
        let producers = sub_indexes.zip(tokens);
        Ok(producers
            .map(|(sub_index, token)| Self::with_token(device, irq, sub_index, token))
            .collect())
    }

    fn with_token(
        device: &Arc<ProducerDevice>,
        irq: &IrqInfo,
        sub_index: u32,
        token: Token,
    ) -> Arc<Self> {
        let info = describe(device, irq, sub_index);
        let gate = Gate {
            left: info.masking == Masking::Device,
            ..Gate::default()
        };
        Arc::new(Self {
            device: Arc::clone(device),
            name: name_of(device, irq, sub_index),
            index: irq.index,
            sub_index,
            info,
            token,
            gate: Mutex::new(gate),
        })
    }

    /// The identity of the eventfd that the device signals.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The sub-index.
    #[must_use]
    pub fn sub_index(&self) -> u32 {
        self.sub_index
    }

    /// Whether another eventfd, or none, is bound to the sub-index now.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.gate().retired
    }

    pub(crate) fn gate(&self) -> MutexGuard<'_, Gate> {
        // A panic inside leaves no half-made change: each field changes by one move.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the device, linked or not.
    pub(crate) fn retire(&self) {
        let mut gate = self.gate();
        self.drop_resample(&mut gate);
        gate.retired = true;
    }

    /// Events that came and were never taken become the successor's.
    pub(crate) fn hand_over(&self, successor: &Self) {
        let mut count = [0; 8];
        // An empty counter is no error: EAGAIN, nothing to hand over.
        if rustix::io::read(&self.token, &mut count).is_ok() {
            // Refused only where it would overflow: it is pending then anyway.
            let _full = rustix::io::write(&successor.token, &count);
        }
    }

    fn set(&self, action: IrqAction, data: IrqData<'_>) -> Result<(), Errno> {
        let request = IrqSet {
            index: self.index,
            start: self.sub_index,
            action,
            data,
        };
        self.device.device().set_irqs(&request).map(|_| ())
    }

    fn set_now(&self, action: IrqAction) -> Result<(), Errno> {
        self.set(action, IrqData::None { count: 1 })
    }

    fn set_resample(&self, event: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        self.set(IrqAction::Unmask, IrqData::Eventfds(&[event]))
    }

    /// Binds what unmasks from now on. An EOI that came before is of no more use: whoever calls
    /// this unmasks by itself.
    fn bind_resample(&self, resample: &ResampleEvent) -> Result<(), Errno> {
        // Nobody else listens to it, and it does not block.
        let _stale = rustix::io::read(resample, &mut [0; 8]);
        self.set_resample(Some(resample.as_fd()))
    }

    fn connect(
        &self,
        gate: &mut Gate,
        consumer: &ConsumerInfo,
    ) -> Result<ResampleBinding, ProducerError> {
        if gate.retired {
            let name = self.name.clone();
            return Err(ProducerError::Retired { name });
        }
        if gate.left {
            self.set_now(IrqAction::Unmask)
                .map_err(|source| self.unmask_error(source))?;
            (gate.left, gate.masked) = (false, false);
        }
        let resample = consumer.resample.as_ref().filter(|_| self.info.automasked);
        let Some(resample) = resample else {
            return Ok(ResampleBinding::Relay);
        };
        match self.bind_resample(resample) {
            Ok(()) => {
                gate.resample = Some(resample.clone());
                Ok(ResampleBinding::Producer)
            }
            // A device that masks but has nothing to listen with: the relay calls `unmask`.
            Err(Errno::ENOTTY | Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(ResampleBinding::Relay),
            Err(source) => Err(ProducerError::Resample {
                name: self.name.clone(),
                source,
            }),
        }
    }

    fn mask_locked(&self, gate: &mut Gate) -> Result<(), Errno> {
        // An EOI that is on its way would undo the mask.
        if gate.resample.is_some() && !gate.masked {
            self.set_resample(None)?;
        }
        if let Err(errno) = self.set_now(IrqAction::Mask) {
            if let Some(resample) = gate.resample.as_ref().filter(|_| !gate.masked)
                && let Err(error) = self.set_resample(Some(resample.as_fd()))
            {
                tracing::warn!(name = self.name, %error, "resample event is not bound any more");
                gate.resample = None;
            }
            return Err(errno);
        }
        gate.masked = true;
        Ok(())
    }

    fn unmask_locked(&self, gate: &mut Gate) -> Result<(), Errno> {
        let bound_now = gate.resample.as_ref().filter(|_| gate.masked);
        if let Some(resample) = bound_now {
            self.bind_resample(resample)?;
        }
        if let Err(errno) = self.set_now(IrqAction::Unmask) {
            if bound_now.is_some()
                && let Err(error) = self.set_resample(None)
            {
                tracing::warn!(name = self.name, %error, "resample event stays bound");
            }
            return Err(errno);
        }
        gate.masked = false;
        Ok(())
    }

    fn drop_resample(&self, gate: &mut Gate) {
        if gate.resample.take().is_some()
            && !gate.masked
            && let Err(error) = self.set_resample(None)
        {
            // A device that is gone; the event goes with its last fd in any case.
            tracing::warn!(name = self.name, %error, "resample event could not be unbound");
        }
    }

    fn live(&self) -> Result<MutexGuard<'_, Gate>, PeerError> {
        let gate = self.gate();
        if gate.retired {
            let name = self.name.clone();
            return Err(PeerError::new(ProducerError::Retired { name }));
        }
        Ok(gate)
    }

    fn unmask_error(&self, source: Errno) -> ProducerError {
        ProducerError::Unmask {
            name: self.name.clone(),
            source,
        }
    }
}

fn new_event(
    device: &ProducerDevice,
    irq: &IrqInfo,
    sub_index: u32,
) -> Result<OwnedFd, EventfdError> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    rustix::event::eventfd(0, flags).map_err(|errno| EventfdError::Create {
        name: name_of(device, irq, sub_index),
        source: errno.into(),
    })
}

fn name_of(device: &ProducerDevice, irq: &IrqInfo, sub_index: u32) -> String {
    let index = device.index_name(irq.index);
    match irq.count {
        1 => index,
        // `msix3`, but `irq5.2`: a number behind a number needs something between.
        _ if index.ends_with(|last: char| last.is_ascii_digit()) => {
            format!("{index}.{sub_index}")
        }
        _ => format!("{index}{sub_index}"),
    }
}

/// What the index's flags and capabilities say of a sub-index.
fn describe(device: &ProducerDevice, irq: &IrqInfo, sub_index: u32) -> ProducerInfo {
    let automasked = irq.flags.contains(IrqFlags::AUTOMASKED);
    let messages = irq.msi_descriptors().unwrap_or_default();
    let message = messages
        .iter()
        .find(|message| message.sub_index == sub_index);
    ProducerInfo {
        trigger: if automasked {
            Trigger::Level
        } else {
            Trigger::Edge
        },
        automasked,
        masking: match irq.flags.contains(IrqFlags::MASKABLE) {
            true => Masking::Device,
            false => Masking::None,
        },
        source_id: device.source_id(),
        host_irq: None,
        message: message.map(|message| MsiMessage {
            address: message.address,
            data: message.data,
        }),
    }
}

impl Producer for VfioProducer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn info(&self) -> ProducerInfo {
        self.info
    }

    fn add_consumer(&self, consumer: &ConsumerInfo) -> Result<ResampleBinding, PeerError> {
        let mut gate = self.gate();
        let binding = self.connect(&mut gate, consumer).map_err(PeerError::new)?;
        gate.linked = true;
        Ok(binding)
    }

    fn del_consumer(&self) {
        let mut gate = self.gate();
        self.drop_resample(&mut gate);
        gate.linked = false;
        gate.left = self.info.masking == Masking::Device;
    }

    fn mask_control(&self) -> Option<&dyn Mask> {
        (self.info.masking == Masking::Device).then_some(self)
    }
}

impl Mask for VfioProducer {
    fn mask(&self) -> Result<(), PeerError> {
        let mut gate = self.live()?;
        self.mask_locked(&mut gate).map_err(|source| {
            PeerError::new(ProducerError::Mask {
                name: self.name.clone(),
                source,
            })
        })
    }

    fn unmask(&self) -> Result<(), PeerError> {
        let mut gate = self.live()?;
        self.unmask_locked(&mut gate)
            .map_err(|source| PeerError::new(self.unmask_error(source)))
    }
}

impl fmt::Debug for VfioProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VfioProducer({}, {:?})", self.name, self.token)
    }
}

#[cfg(test)]
mod tests;
