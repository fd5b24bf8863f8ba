//! A message of the guest as consumer, delivered through a posted-interrupt descriptor.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker_core::Consumer;
use irqbroker_core::ConsumerInfo;
use irqbroker_core::Delivers;
use irqbroker_core::MsiMessage;
use irqbroker_core::PeerError;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Reason;
use irqbroker_core::Retarget;
use irqbroker_core::Rid;
use irqbroker_core::RouteInfo;
use irqbroker_core::Token;
use irqbroker_core::Trigger;
use irqbroker_core::Unpostable;
use posted_irq::BindingEvent;
use posted_irq::BindingWrite;
use posted_irq::IrteBinding;
use posted_irq::IrteBlock;
use posted_irq::IrteMode;
use posted_irq::Msi;
use posted_irq::NotPosted;
use posted_irq::Post;
use posted_irq::RemappableMsi;
use posted_irq::SourceId;
use posted_irq::SourceValidation;
use posted_irq::TableError;
use posted_irq::VtdIrte;
use posted_irq::VtdPostTarget;
use posted_irq::VtdRemapped;

use super::MessageFault;
use super::PostedVm;
use super::vm::FIRST_LEGAL;

/// A producer that no posted entry can be given. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProducerNotPosted {
    /// Its line is level-triggered, and nobody would hear of the end of its interrupts.
    #[error("level interrupts are not posted")]
    Level,
    /// It is another device than the entry is for: each of its messages would be a fault.
    #[error("producer is {producer}, the entry is for {entry}")]
    Source {
        /// The producer's id.
        producer: Rid,
        /// The entry's.
        entry: Rid,
    },
}

/// A message of the guest that is posted, if it can be.
///
/// The device's message is in remappable format and names an entry for good; what the guest writes
/// into the device's table is where that entry posts. So a retarget exchanges the entry, in one
/// piece and while interrupts flow: an event goes either where it went or where it goes.
///
/// ```text
///             message that can be posted
///  posted ◄─────────────────────────────── remapped: the entry is the host's, the relay makes
///     └──────────────────────────────────►           the interrupt, reason `HostEntry`
///             message that cannot
/// ```
pub struct PostedConsumer {
    name: String,
    vm: Arc<PostedVm>,
    source: SourceId,
    /// What the device sends.
    msi: Msi,
    /// Leaf lock, for changes only; events go without.
    state: Mutex<State>,
}

struct State {
    message: MsiMessage,
    /// There until the drop.
    block: Option<IrteBlock>,
    binding: IrteBinding<VtdIrte, VtdPostTarget>,
}

impl PostedVm {
    /// A consumer for a message of the device with this id, whatever the message is.
    ///
    /// # Errors
    ///
    /// No entry is left.
    pub fn msi(
        self: &Arc<Self>,
        name: impl Into<String>,
        source: Rid,
        message: MsiMessage,
    ) -> Result<Arc<PostedConsumer>, TableError> {
        let block = self.table.allocate(1)?;
        let source = SourceId(source.0);
        let device = RemappableMsi {
            handle: block.first(),
            subhandle: None,
        };
        // Without a producer: there, for this device only, and delivering to nobody.
        let host: VtdIrte = VtdRemapped::new()
            .with_p(true)
            .with_sid(source.0)
            .with_svt(SourceValidation::Source)
            .into();
        self.write_entry(&block, host)?;
        Ok(Arc::new(PostedConsumer {
            name: name.into(),
            vm: Arc::clone(self),
            source,
            msi: device.encode(),
            state: Mutex::new(State {
                message,
                block: Some(block),
                binding: IrteBinding::new(host),
            }),
        }))
    }

    fn verdict(&self, message: MsiMessage) -> Result<VtdPostTarget, Refusal> {
        let refusal = |binding, told| Refusal { binding, told };
        let target = self.target(msi_of(message)).map_err(|not_posted| {
            refusal(
                not_posted,
                match not_posted {
                    NotPosted::DeliveryMode(mode) => Unpostable::DeliveryMode(mode.into_bits()),
                    NotPosted::SeveralVcpus | NotPosted::Broadcast => Unpostable::SeveralVcpus,
                    NotPosted::NoVcpu
                    | NotPosted::NotMsi
                    | NotPosted::NoKernelIrqchip
                    | NotPosted::NoHardware => Unpostable::NoVcpu,
                },
            )
        })?;
        let vector = target.vector;
        if vector < FIRST_LEGAL {
            // KVM would post it; the registers here have no place for it, so nobody takes it.
            let told = Unpostable::IllegalVector(vector);
            return Err(refusal(NotPosted::NoVcpu, told));
        }
        Ok(target)
    }
}

/// Why a message is not posted.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    /// As the entry's binding keeps it.
    binding: NotPosted,
    /// As the registry is told.
    told: Unpostable,
}

const fn msi_of(message: MsiMessage) -> Msi {
    let MsiMessage { address, data } = message;
    Msi { address, data }
}

impl PostedConsumer {
    /// The device raises its interrupt.
    ///
    /// # Errors
    ///
    /// [`MessageFault`] where hardware would record a fault, and where the entry is the host's: no
    /// producer is connected, or the message cannot be posted.
    pub fn post(&self) -> Result<Post, MessageFault> {
        self.vm.deliver(self.source, self.msi)
    }

    /// What the device sends, in remappable format.
    #[must_use]
    pub fn device_message(&self) -> MsiMessage {
        MsiMessage {
            address: self.msi.address,
            data: self.msi.data,
        }
    }

    /// What the entry says.
    #[must_use]
    pub fn mode(&self) -> IrteMode {
        self.state().binding.mode()
    }

    /// Another message of the guest's; events flow meanwhile. One that cannot be posted gives the
    /// entry back to the host, whatever it is.
    ///
    /// # Errors
    ///
    /// The entry could not be written; the old message stays.
    pub fn set_message(&self, message: MsiMessage) -> Result<(), TableError> {
        let verdict = self.vm.verdict(message).map_err(|refusal| refusal.binding);
        let mut state = self.state();
        // The message last: what comes through the host from now on waits for this lock.
        state.step(&self.vm, BindingEvent::Route(verdict))?;
        state.message = message;
        Ok(())
    }

    fn bind(&self) -> Result<(), TableError> {
        let mut state = self.state();
        let verdict = self.vm.verdict(state.message);
        let verdict = verdict.map_err(|refusal| refusal.binding);
        state.step(&self.vm, BindingEvent::Bind(verdict))
    }

    /// What the kernel does with an interrupt that comes through the host.
    fn synthesise(&self) -> Result<(), MessageFault> {
        let source_id = self.source;
        let message = self.state().message;
        self.vm
            .synthesise(msi_of(message))
            .map_err(|why| MessageFault::Undeliverable { source_id, why })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn step(
        &mut self,
        vm: &PostedVm,
        event: BindingEvent<VtdIrte, VtdPostTarget>,
    ) -> Result<(), TableError> {
        let Some(block) = &self.block else {
            return Ok(());
        };
        let write = |write: BindingWrite<VtdIrte, VtdPostTarget>| {
            let entry = match write {
                BindingWrite::Nothing => return Ok(()),
                BindingWrite::Post { host, target } => host.posting_to(target),
                BindingWrite::Restore { host, .. } | BindingWrite::Host { host } => host,
            };
            vm.write_entry(block, entry)
        };
        self.binding.step(event, write).map(|_modes| ())
    }
}

impl Consumer for PostedConsumer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn answer(&self, _producer: &ProducerInfo) -> ConsumerInfo {
        let message = self.state().message;
        let delivers = match self.vm.verdict(message) {
            Ok(_) => Delivers::Posted,
            Err(refusal) => Delivers::Relay(Reason::HostEntry(refusal.told)),
        };
        ConsumerInfo {
            delivers,
            resample: None,
            device_id: None,
        }
    }

    fn add_producer(&self, producer: &ProducerInfo, _token: &Token) -> Result<(), PeerError> {
        if producer.trigger == Trigger::Level {
            return Err(PeerError::new(ProducerNotPosted::Level));
        }
        let entry = Rid(self.source.0);
        if let Some(producer) = producer.source_id.filter(|id| *id != entry) {
            return Err(PeerError::new(ProducerNotPosted::Source {
                producer,
                entry,
            }));
        }
        self.bind().map_err(PeerError::new)
    }

    fn del_producer(&self) {
        if let Err(error) = self.state().step(&self.vm, BindingEvent::Unbind) {
            tracing::warn!(consumer = %self.name, %error, "entry could not be restored");
        }
    }

    fn inject(&self) -> Result<(), PeerError> {
        let posted = match self.post() {
            Err(MessageFault::HostEntry { .. }) => self.synthesise(),
            posted => posted.map(drop),
        };
        posted.map_err(PeerError::new)
    }

    fn route(&self) -> Option<RouteInfo> {
        Some(RouteInfo::Msi {
            gsi: None,
            message: self.state().message,
        })
    }

    fn retarget(&self) -> Option<&dyn Retarget> {
        Some(self)
    }
}

impl Retarget for PostedConsumer {
    fn set_message(&self, message: MsiMessage) -> Result<(), PeerError> {
        Self::set_message(self, message).map_err(PeerError::new)
    }
}

impl Drop for PostedConsumer {
    fn drop(&mut self) {
        if let Some(block) = self.state().block.take()
            && let Err(error) = self.vm.free_entry(block)
        {
            tracing::warn!(consumer = %self.name, %error, "entry could not be given back");
        }
    }
}

impl fmt::Debug for PostedConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostedConsumer")
            .field("name", &self.name)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod host_tests;
#[cfg(test)]
mod tests;
