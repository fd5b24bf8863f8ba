//! A function's INTx: joined to a pin of the kernel's, or driven from here.
//!
//! With a full in-kernel irqchip the line is a link to a pin with a resample irqfd: neither the
//! interrupt nor the guest's EOI comes by here. Else the relay hands each event to the function's
//! state machine, which drives the embedder's interrupt controller and hears of the EOI through
//! [`Manager::eoi`](crate::manager::Manager::eoi).

use std::fmt;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use irqbroker_core::Consumer;
use irqbroker_core::ConsumerHandle;
use irqbroker_core::ConsumerInfo;
use irqbroker_core::Delivers;
use irqbroker_core::Gsi;
use irqbroker_core::PeerError;
use irqbroker_core::ProducerHandle;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Reason;
use irqbroker_core::RouteInfo;
use irqbroker_core::Token;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio::pci::InterruptKind;
use irqbroker_vfio::pci::InterruptMode;
use irqbroker_vfio::pci::Level;

use crate::manager::error::RouteIntxError;
use crate::manager::fault::Fault;
use crate::manager::function::Function;
use crate::manager::function::State;
use crate::manager::shared::Shared;
use crate::manager::source::DeviceSource;
use crate::manager::source::Feed;
use crate::manager::source::VectorSource;
use crate::manager::stuck::Serving;

/// The low byte of the status register, and the interrupt status in it (PCI Local Bus 3.0, 6.2.3).
const STATUS: u64 = 6;
const INTERRUPT_STATUS: u8 = 1 << 3;

/// A function's line. Changed under the function's lock.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Where the pin leads.
    gsi: Option<Gsi>,
    joined: Option<Joined>,
    fault: Option<Arc<Fault>>,
    pub(super) serving: Serving,
}

/// A line whose index is enabled on the device.
struct Joined {
    consumer: ConsumerHandle,
    producer: ProducerHandle,
    source: Arc<dyn VectorSource>,
    feed: Feed,
    way: Way,
}

enum Way {
    /// A pin of the in-kernel irqchip.
    Kernel(Gsi),
    User(Arc<LineConsumer>),
}

impl Line {
    /// Where the pin leads.
    pub(super) fn routed(&self) -> Option<Gsi> {
        self.gsi
    }

    /// The link, while there is one.
    pub(super) fn link(&self) -> Option<&ConsumerHandle> {
        self.joined.as_ref().map(|joined| &joined.consumer)
    }

    /// Whether the kernel forwards it.
    pub(super) fn is_forwarded(&self) -> bool {
        let joined = self.joined.as_ref();
        joined.is_some_and(|joined| matches!(joined.way, Way::Kernel(_)))
    }

    pub(super) fn fault(&self) -> Option<&Arc<Fault>> {
        self.fault.as_ref()
    }

    /// Lets an automasked source look at the device again.
    pub(super) fn unmask(&self) {
        let source = self.joined.as_ref().map(|joined| &joined.source);
        let Some(mask) = source.and_then(|source| source.mask_control()) else {
            return;
        };
        if let Err(error) = mask.unmask() {
            tracing::warn!(%error, "source could not be unmasked after eoi");
        }
    }
}

impl Function {
    /// The pin leads elsewhere from now on.
    pub(super) fn route_line(&self, gsi: Option<Gsi>) -> Result<(), RouteIntxError> {
        let mut state = self.state();
        if state.pci.intx().is_none() {
            return Err(RouteIntxError::NoLine);
        }
        let before = state.line.gsi;
        if before == gsi {
            return Ok(());
        }
        if let Some(gsi) = gsi {
            self.shared
                .lines()
                .join(gsi, &self.this(), self.needs_driver())?;
        }
        state.line.gsi = gsi;
        let effects = state.pci.reroute(gsi);
        self.carry_out(&mut state, effects);
        if let Some(before) = before {
            self.shared.lines().leave(before, &self.this());
        }
        self.settle_line(&mut state);
        Ok(())
    }

    /// The device model tells the level of its line.
    pub(super) fn set_level(&self, level: Level) {
        let mut state = self.state();
        let effects = state.pci.set_level(level);
        self.carry_out(&mut state, effects);
    }

    /// The relay has claimed an event of the line.
    pub(super) fn assert_line(&self) {
        let mut state = self.state();
        let claimed = state
            .line
            .joined
            .as_ref()
            .is_some_and(|joined| match &joined.way {
                // Acquire: the state this was set in is behind us.
                Way::User(consumer) => consumer.claimed.swap(false, Ordering::Acquire),
                Way::Kernel(_) => false,
            });
        if claimed {
            let effects = state.pci.set_level(Level::Asserted);
            self.carry_out(&mut state, effects);
        }
    }

    /// The guest has served an input of the interrupt controller.
    pub(super) fn eoi(&self, gsi: Gsi) {
        let mut state = self.state();
        state.line.serving.eoi();
        let effects = state.pci.eoi(gsi);
        self.carry_out(&mut state, effects);
    }

    /// Brings the line to where the registers have it.
    pub(super) fn settle_line(&self, state: &mut State) {
        let DeviceSource::Vfio(_) = &self.source else {
            return;
        };
        let Some(disabled) = state.pci.intx().map(|intx| intx.is_disabled()) else {
            return;
        };
        let wanted = state
            .line
            .gsi
            .filter(|_| state.pci.mode() == InterruptMode::Intx);
        let Some(gsi) = wanted else {
            state.line.fault = None;
            return self.close_line(state);
        };
        let settled = match &state.line.joined {
            Some(Joined {
                way: Way::Kernel(now),
                ..
            }) if *now != gsi => {
                self.close_line(state);
                self.open_line(state, gsi)
            }
            Some(_) => Ok(()),
            None => self.open_line(state, gsi),
        };
        // A line driven from here is kept low by its state machine instead.
        let masked = settled.and_then(|()| match &state.line.joined {
            Some(joined) if matches!(joined.way, Way::Kernel(_)) => match disabled {
                true => Ok(joined.consumer.mask()?),
                false => Ok(joined.consumer.unmask()?),
            },
            _ => Ok(()),
        });
        state.line.fault = masked.err().map(|fault| {
            tracing::debug!(device = self.name, %fault, "line not served");
            self.shared.look_again();
            Arc::new(fault)
        });
    }

    fn open_line(&self, state: &mut State, gsi: Gsi) -> Result<(), Fault> {
        let feed = self.source.enable(InterruptKind::Intx, 1)?;
        let source = feed.bind(0..1)?.into_iter().next();
        let source = source.ok_or(Fault::NoSource { vector: 0 })?;
        let token = source.token().clone();
        let registry = &self.shared.registry;
        let producer = registry.register_producer(token.clone(), Arc::clone(&source) as _)?;
        let (way, consumer) = if self.shared.has_resample() {
            let pin = self.shared.domain.pin(format!("{}.intx", self.name), gsi)?;
            (Way::Kernel(gsi), registry.register_consumer(token, pin)?)
        } else {
            let consumer = LineConsumer::new(self);
            let handle = registry.register_consumer(token, Arc::clone(&consumer) as _)?;
            (Way::User(consumer), handle)
        };
        state.line.joined = Some(Joined {
            consumer,
            producer,
            source,
            feed,
            way,
        });
        if state.line.is_forwarded() {
            self.watch_forwarded_line();
        }
        Ok(())
    }

    /// Has the service loop look after a line that the kernel forwards, if somebody counts.
    pub(super) fn watch_forwarded_line(&self) {
        if self.shared.options.counts.is_some() {
            self.shared.look_again();
        }
    }

    /// Whether the device asserts a line that the guest has not disabled.
    pub(super) fn waits_for_eoi(&self, state: &State) -> bool {
        let DeviceSource::Vfio(device) = &self.source else {
            return false;
        };
        let mut status = [0; 1];
        let read = device
            .device()
            .region_read(RegionIndex::CONFIG, STATUS, &mut status);
        let allowed = state.pci.intx().is_some_and(|intx| !intx.is_disabled());
        // A device that does not say asserts nothing.
        allowed && read.is_ok() && status[0] & INTERRUPT_STATUS != 0
    }

    /// Disables the index, which the other two need to be enabled.
    pub(super) fn close_line(&self, state: &mut State) {
        let Some(joined) = state.line.joined.take() else {
            return;
        };
        state.line.serving.end();
        drop(joined.consumer);
        drop(joined.producer);
        // What is lost is a level: the device asserts it again where it is enabled again.
        joined.feed.disable(&[]);
    }

    /// Whether somebody has to drive the line's input for it.
    fn needs_driver(&self) -> bool {
        matches!(self.source, DeviceSource::Local(_)) || !self.shared.has_resample()
    }
}

/// The end of a line whose events go to its function's state machine.
///
/// The registry calls it under the link's lock, which the function's must not be taken under: it
/// leaves word, and the service loop does the rest.
#[derive(Debug)]
struct LineConsumer {
    name: String,
    shared: Weak<Shared>,
    function: Weak<Function>,
    claimed: AtomicBool,
}

impl LineConsumer {
    fn new(function: &Function) -> Arc<Self> {
        Arc::new(Self {
            name: format!("{}.intx", function.name),
            shared: Arc::downgrade(&function.shared),
            function: function.this(),
            claimed: AtomicBool::new(false),
        })
    }
}

impl Consumer for LineConsumer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn answer(&self, _producer: &ProducerInfo) -> ConsumerInfo {
        ConsumerInfo {
            delivers: Delivers::Relay(Reason::NoResample),
            resample: None,
            device_id: None,
        }
    }

    fn add_producer(&self, _producer: &ProducerInfo, _token: &Token) -> Result<(), PeerError> {
        Ok(())
    }

    fn del_producer(&self) {}

    fn inject(&self) -> Result<(), PeerError> {
        // Release: pairs with the Acquire of the service loop that finds the function queued.
        self.claimed.store(true, Ordering::Release);
        if let Some(shared) = self.shared.upgrade() {
            let mut asserted = shared
                .asserted
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            asserted.push(Weak::clone(&self.function));
        }
        Ok(())
    }

    fn route(&self) -> Option<RouteInfo> {
        None
    }
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Joined({:?})", self.consumer)
    }
}
