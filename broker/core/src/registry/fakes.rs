//! Two sides that write down what is called on them, and refuse when told to.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use rustix::event::EventfdFlags;

use super::Registry;
use crate::delivery::DeliveryState;
use crate::delivery::Reason;
use crate::error::RegisterError;
use crate::handle::ConsumerHandle;
use crate::handle::ProducerHandle;
use crate::ids::LinkId;
use crate::info::ConsumerInfo;
use crate::info::Delivers;
use crate::info::MsiMessage;
use crate::info::ProducerInfo;
use crate::info::ResampleEvent;
use crate::info::RouteInfo;
use crate::info::Trigger;
use crate::peer::Bypass;
use crate::peer::BypassRefused;
use crate::peer::Committed;
use crate::peer::Consumer;
use crate::peer::Mask;
use crate::peer::PeerError;
use crate::peer::Prepared;
use crate::peer::Producer;
use crate::peer::ResampleBinding;
use crate::peer::Retarget;
use crate::peer::RouteDomain;
use crate::poller::Wait;
use crate::shared::Options;
use crate::token::Token;

/// The calls of both sides, in order, and the one that is to fail.
#[derive(Debug, Default)]
pub(super) struct Log {
    calls: Mutex<Vec<&'static str>>,
    refuse: Mutex<Option<&'static str>>,
}

#[derive(Debug, thiserror::Error)]
#[error("told to refuse {0}")]
struct Told(&'static str);

impl Log {
    pub(super) fn refuse(&self, call: &'static str) {
        *self.refuse.lock().unwrap() = Some(call);
    }

    /// The calls since the last time, without the pure queries.
    pub(super) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn call(&self, call: &'static str) -> Result<(), PeerError> {
        self.calls.lock().unwrap().push(call);
        match *self.refuse.lock().unwrap() {
            Some(refused) if refused == call => Err(PeerError::new(Told(call))),
            _ => Ok(()),
        }
    }

    fn bypass_call(&self, call: &'static str, reason: Reason) -> Result<(), BypassRefused> {
        self.call(call).map_err(|error| BypassRefused {
            reason,
            source: Some(Box::new(error)),
        })
    }
}

pub(super) fn event() -> OwnedFd {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

pub(super) fn signal(token: &Token) {
    rustix::io::write(token, &1u64.to_ne_bytes()).unwrap();
}

#[derive(Debug)]
pub(super) struct FakeProducer {
    pub(super) log: Arc<Log>,
    pub(super) info: ProducerInfo,
}

impl FakeProducer {
    pub(super) fn edge(log: &Arc<Log>) -> Arc<Self> {
        Arc::new(Self {
            log: Arc::clone(log),
            info: ProducerInfo::edge(),
        })
    }

    pub(super) fn level(log: &Arc<Log>) -> Arc<Self> {
        Arc::new(Self {
            log: Arc::clone(log),
            info: ProducerInfo::automasked_level(),
        })
    }
}

impl Producer for FakeProducer {
    fn name(&self) -> String {
        "fake.producer".into()
    }
    fn info(&self) -> ProducerInfo {
        self.info
    }
    fn add_consumer(&self, _consumer: &ConsumerInfo) -> Result<ResampleBinding, PeerError> {
        self.log
            .call("p.add_consumer")
            .map(|()| ResampleBinding::Relay)
    }
    fn del_consumer(&self) {
        let _ = self.log.call("p.del_consumer");
    }
    fn stop(&self) {
        let _ = self.log.call("p.stop");
    }
    fn start(&self) {
        let _ = self.log.call("p.start");
    }
    fn mask_control(&self) -> Option<&dyn Mask> {
        Some(self)
    }
}

impl Mask for FakeProducer {
    fn mask(&self) -> Result<(), PeerError> {
        self.log.call("p.mask")
    }
    fn unmask(&self) -> Result<(), PeerError> {
        self.log.call("p.unmask")
    }
}

/// A routing table that counts its commits.
#[derive(Debug)]
pub(super) struct FakeDomain {
    pub(super) log: Arc<Log>,
    pub(super) commits: AtomicUsize,
    staged: AtomicUsize,
}

impl RouteDomain for FakeDomain {
    fn commit(&self) -> Result<Committed, BypassRefused> {
        self.log.bypass_call("commit", Reason::NoIrqfd)?;
        self.commits.fetch_add(1, SeqCst);
        Ok(Committed::Written(self.staged.swap(0, SeqCst)))
    }
}

/// A consumer in a pretended kernel, which takes over the eventfd when attached.
#[derive(Debug)]
pub(super) struct FakeConsumer {
    pub(super) log: Arc<Log>,
    pub(super) domain: Arc<FakeDomain>,
    pub(super) delivers: Delivers,
    pub(super) resample: Option<ResampleEvent>,
    pub(super) injected: AtomicUsize,
    pub(super) recovered: AtomicBool,
    message: Mutex<MsiMessage>,
    committed: AtomicBool,
}

impl FakeConsumer {
    pub(super) fn new(log: &Arc<Log>, delivers: Delivers) -> Arc<Self> {
        let domain = FakeDomain {
            log: Arc::clone(log),
            commits: AtomicUsize::new(0),
            staged: AtomicUsize::new(0),
        };
        Self::in_domain(log, delivers, &Arc::new(domain))
    }

    pub(super) fn in_domain(
        log: &Arc<Log>,
        delivers: Delivers,
        domain: &Arc<FakeDomain>,
    ) -> Arc<Self> {
        Arc::new(Self {
            log: Arc::clone(log),
            domain: Arc::clone(domain),
            delivers,
            resample: Some(ResampleEvent::new(Arc::new(event()))),
            injected: AtomicUsize::new(0),
            recovered: AtomicBool::new(false),
            message: Mutex::new(MsiMessage {
                address: 0xfee0_0000,
                data: 0x40,
            }),
            committed: AtomicBool::new(false),
        })
    }
}

impl Consumer for FakeConsumer {
    fn name(&self) -> String {
        "fake.consumer".into()
    }
    fn answer(&self, producer: &ProducerInfo) -> ConsumerInfo {
        let resample = match producer.trigger {
            Trigger::Level => self.resample.clone(),
            Trigger::Edge => None,
        };
        ConsumerInfo {
            delivers: self.delivers,
            resample,
            device_id: None,
        }
    }
    fn add_producer(&self, _producer: &ProducerInfo, _token: &Token) -> Result<(), PeerError> {
        self.log.call("c.add_producer")
    }
    fn del_producer(&self) {
        let _ = self.log.call("c.del_producer");
    }
    fn stop(&self) {
        let _ = self.log.call("c.stop");
    }
    fn start(&self) {
        let _ = self.log.call("c.start");
    }
    fn inject(&self) -> Result<(), PeerError> {
        self.log.call("c.inject")?;
        self.injected.fetch_add(1, SeqCst);
        Ok(())
    }
    fn route(&self) -> Option<RouteInfo> {
        Some(RouteInfo::Msi {
            gsi: None,
            message: *self.message.lock().unwrap(),
        })
    }
    fn bypass(&self) -> Option<&dyn Bypass> {
        (self.delivers == Delivers::Bypass).then_some(self)
    }
    fn retarget(&self) -> Option<&dyn Retarget> {
        Some(self)
    }
}

impl Bypass for FakeConsumer {
    fn prepare(&self) -> Result<Prepared, BypassRefused> {
        self.log
            .bypass_call("c.prepare", Reason::GsiExhausted { limit: 1 })?;
        // Staged until the table has been committed once since the consumer was made or released.
        Ok(if self.committed.swap(true, SeqCst) {
            Prepared::Live
        } else {
            Prepared::Staged
        })
    }
    fn domain(&self) -> Arc<dyn RouteDomain> {
        Arc::clone(&self.domain) as Arc<dyn RouteDomain>
    }
    fn attach(&self) -> Result<(), BypassRefused> {
        self.log.bypass_call("c.attach", Reason::NoIrqfd)
    }
    fn detach(&self) -> Result<(), PeerError> {
        self.log.call("c.detach")
    }
    fn release(&self) {
        self.committed.store(false, SeqCst);
        let _ = self.log.call("c.release");
    }
    fn has_recovered(&self, _from: Reason) -> bool {
        self.recovered.load(SeqCst)
    }
}

impl Retarget for FakeConsumer {
    fn set_message(&self, message: MsiMessage) -> Result<(), PeerError> {
        self.log.call("c.retarget")?;
        *self.message.lock().unwrap() = message;
        Ok(())
    }
}

/// A registry, one token, and a log of what is called on the sides made here.
pub(super) struct Bench {
    pub(super) registry: Registry,
    pub(super) log: Arc<Log>,
    pub(super) token: Token,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(super) fn with(options: Options) -> Self {
        Self {
            registry: Registry::with_options(options).unwrap(),
            log: Arc::default(),
            token: Token::of(event()).unwrap(),
        }
    }

    pub(super) fn producer(&self) -> Result<ProducerHandle, RegisterError> {
        self.registry
            .register_producer(self.token.clone(), FakeProducer::edge(&self.log))
    }

    pub(super) fn consumer(&self, delivers: Delivers) -> Result<ConsumerHandle, RegisterError> {
        self.registry
            .register_consumer(self.token.clone(), FakeConsumer::new(&self.log, delivers))
    }

    pub(super) fn state(&self, link: LinkId) -> (DeliveryState, Reason) {
        let delivery = self.registry.delivery(link).unwrap();
        (delivery.state, delivery.reason)
    }

    pub(super) fn service(&self) -> usize {
        self.registry.service(Wait::No).unwrap().injected
    }
}
