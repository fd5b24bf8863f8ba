//! A producer in this process: an eventfd behind a mask that costs no system call.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;

use rustix::event::EventfdFlags;
use rustix::io::Errno;

use crate::info::ConsumerInfo;
use crate::info::Masking;
use crate::info::ProducerInfo;
use crate::info::Trigger;
use crate::peer::Consumer;
use crate::peer::Direct;
use crate::peer::Mask;
use crate::peer::PeerError;
use crate::peer::Producer;
use crate::peer::ResampleBinding;
use crate::token::Token;
use crate::token::TokenError;

/// Since when a producer's events have a listener again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// A new consumer: what happened before it came is not its own.
    Bound,
    /// The same consumer, unmasked or started again: what happened meanwhile is pending.
    Held,
}

/// Told when events start and stop being wanted, so that nothing ticks when nobody listens.
pub trait Demand: Send + Sync {
    /// A consumer is bound and unmasked. Returns whether an event is pending for it, which is
    /// then signalled at once: for [`Since::Held`], one that would have happened since
    /// [`unwanted`](Self::unwanted).
    fn wanted(&self, since: Since) -> bool;

    /// Nobody listens from now on.
    fn unwanted(&self);
}

/// Why a producer could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// No eventfd could be had.
    #[error("cannot create an eventfd for {name}")]
    Eventfd {
        /// The producer's name.
        name: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// The eventfd could not be identified.
    #[error("cannot identify the eventfd of {name}")]
    Token {
        /// The producer's name.
        name: String,
        /// What was wrong.
        #[source]
        source: TokenError,
    },
}

/// An edge producer in this process.
///
/// Masked or stopped, it keeps an event as one pending bit; otherwise it writes its eventfd. With
/// no consumer the event waits in the eventfd's counter, unless the producer is told of demand.
pub struct LocalProducer {
    name: String,
    info: ProducerInfo,
    token: Token,
    /// Held across the eventfd write or the consumer's call, so that no event slips out after
    /// [`Mask::mask`] returned. Taken under a link's lock; takes whatever [`Demand`] and
    /// [`Consumer::inject`] take.
    gate: Mutex<Gate>,
    demand: Option<Weak<dyn Demand>>,
}

#[derive(Debug, Default)]
struct Gate {
    bound: bool,
    /// The consumer came after the last time events were wanted.
    fresh: bool,
    masked: bool,
    stopped: bool,
    pending: bool,
    signalled: u64,
    /// Called instead of a write of the eventfd.
    direct: Option<Arc<dyn Consumer>>,
}

impl Gate {
    fn open(&self) -> bool {
        !self.masked && !self.stopped
    }
}

impl LocalProducer {
    /// A producer with an eventfd of its own.
    ///
    /// # Errors
    ///
    /// See [`LocalError`].
    pub fn new(name: impl Into<String>) -> Result<Arc<Self>, LocalError> {
        Self::build(name.into(), None)
    }

    /// The same, that tells `demand` when its events are wanted.
    ///
    /// # Errors
    ///
    /// See [`LocalError`].
    pub fn with_demand(
        name: impl Into<String>,
        demand: Weak<dyn Demand>,
    ) -> Result<Arc<Self>, LocalError> {
        Self::build(name.into(), Some(demand))
    }

    fn build(name: String, demand: Option<Weak<dyn Demand>>) -> Result<Arc<Self>, LocalError> {
        let event = match rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        {
            Ok(event) => event,
            Err(source) => return Err(LocalError::Eventfd { name, source }),
        };
        let token = match Token::adopt(event) {
            Ok(token) => token,
            Err(source) => return Err(LocalError::Token { name, source }),
        };
        let info = ProducerInfo {
            trigger: Trigger::Edge,
            masking: Masking::InProcess,
            ..ProducerInfo::edge()
        };
        Ok(Arc::new(Self {
            name,
            info,
            token,
            gate: Mutex::default(),
            demand,
        }))
    }

    /// The identity of the eventfd.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Raises the interrupt: one write of the eventfd, one call of a consumer that posts, or a
    /// pending bit while masked.
    ///
    /// A producer that is told of demand drops an event that comes when there is none: it was on
    /// its way while the consumer left, and is not the next one's.
    pub fn signal(&self) {
        let mut gate = self.lock();
        if self.demand.is_some() && !gate.bound {
            return;
        }
        if gate.open() {
            self.write(&mut gate);
        } else {
            gate.pending = true;
        }
    }

    /// Events that reached the eventfd, or the consumer past it, so far.
    #[must_use]
    pub fn signalled(&self) -> u64 {
        self.lock().signalled
    }

    /// Whether an event waits behind the mask.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.lock().pending
    }

    fn lock(&self) -> MutexGuard<'_, Gate> {
        // A panic in a demand hook leaves the gate's plain fields as valid as before.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, gate: &mut Gate) {
        gate.signalled += 1;
        if let Some(consumer) = &gate.direct
            && consumer.inject().is_ok()
        {
            return;
        }
        // Refused only when the counter is full (2^64 - 2 events): it is pending then anyway.
        let _ = rustix::io::write(&self.token, &1u64.to_ne_bytes());
    }

    /// Changes the gate and tells the demand hook if that opened or closed it.
    fn change(&self, change: impl FnOnce(&mut Gate)) {
        let mut gate = self.lock();
        let was_wanted = gate.bound && gate.open();
        change(&mut gate);
        let is_wanted = gate.bound && gate.open();
        if let Some(demand) = self.demand.as_ref().and_then(Weak::upgrade) {
            match (was_wanted, is_wanted) {
                (false, true) => {
                    let fresh = std::mem::take(&mut gate.fresh);
                    gate.pending |= demand.wanted(if fresh { Since::Bound } else { Since::Held });
                }
                (true, false) => demand.unwanted(),
                _ => {}
            }
        }
        if gate.open() && std::mem::take(&mut gate.pending) {
            self.write(&mut gate);
        }
    }
}

impl Producer for LocalProducer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn info(&self) -> ProducerInfo {
        self.info
    }

    fn add_consumer(&self, _consumer: &ConsumerInfo) -> Result<ResampleBinding, PeerError> {
        self.change(|gate| {
            gate.bound = true;
            gate.fresh = true;
        });
        Ok(ResampleBinding::Relay)
    }

    fn del_consumer(&self) {
        self.change(|gate| {
            gate.bound = false;
            gate.masked = false;
        });
    }

    fn stop(&self) {
        self.change(|gate| gate.stopped = true);
    }

    fn start(&self) {
        self.change(|gate| gate.stopped = false);
    }

    fn mask_control(&self) -> Option<&dyn Mask> {
        Some(self)
    }

    fn direct(&self) -> Option<&dyn Direct> {
        Some(self)
    }
}

impl Direct for LocalProducer {
    fn attach(&self, consumer: Arc<dyn Consumer>) {
        self.lock().direct = Some(consumer);
    }

    fn detach(&self) {
        self.lock().direct = None;
    }
}

impl Mask for LocalProducer {
    fn mask(&self) -> Result<(), PeerError> {
        self.change(|gate| gate.masked = true);
        Ok(())
    }

    fn unmask(&self) -> Result<(), PeerError> {
        self.change(|gate| gate.masked = false);
        Ok(())
    }
}

impl fmt::Debug for LocalProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalProducer")
            .field("name", &self.name)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod direct_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering;

    use crate::delivery::Reason;
    use crate::info::Delivers;

    fn consumer() -> ConsumerInfo {
        ConsumerInfo {
            delivers: Delivers::Relay(Reason::UserSpaceConsumer),
            resample: None,
            device_id: None,
        }
    }

    #[test]
    fn signal_while_unmasked_counts_in_the_eventfd() {
        let producer = LocalProducer::new("p").unwrap();
        producer.signal();
        producer.signal();
        assert_eq!(producer.token().pending().unwrap(), 2);
        assert_eq!(producer.signalled(), 2);
    }

    #[test]
    fn signals_while_masked_reach_the_eventfd_once_at_unmask() {
        let producer = LocalProducer::new("p").unwrap();
        producer.mask().unwrap();
        producer.signal();
        producer.signal();
        assert_eq!(producer.token().pending().unwrap(), 0);
        assert!(producer.is_pending());
        producer.unmask().unwrap();
        assert_eq!(producer.token().pending().unwrap(), 1);
        assert!(!producer.is_pending());
    }

    #[test]
    fn signal_while_stopped_waits_for_start_even_when_unmasked_between() {
        let producer = LocalProducer::new("p").unwrap();
        producer.stop();
        producer.mask().unwrap();
        producer.signal();
        producer.unmask().unwrap();
        assert_eq!(producer.token().pending().unwrap(), 0);
        producer.start();
        assert_eq!(producer.token().pending().unwrap(), 1);
    }

    #[derive(Default)]
    struct Ticker {
        wanted: AtomicU32,
        unwanted: AtomicU32,
        missed: AtomicBool,
    }

    impl Demand for Ticker {
        fn wanted(&self, since: Since) -> bool {
            self.wanted.fetch_add(1, Ordering::Relaxed);
            since == Since::Held && self.missed.load(Ordering::Relaxed)
        }

        fn unwanted(&self) {
            self.unwanted.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn demand_is_told_once_per_opening_and_closing() {
        let ticker = Arc::new(Ticker::default());
        ticker.missed.store(true, Ordering::Relaxed);
        let demand: Weak<dyn Demand> = Arc::downgrade(&(ticker.clone() as Arc<dyn Demand>));
        let producer = LocalProducer::with_demand("p", demand).unwrap();
        producer.stop();
        producer.add_consumer(&consumer()).unwrap();
        assert_eq!(ticker.wanted.load(Ordering::Relaxed), 0);
        producer.start();
        producer.mask().unwrap();
        producer.mask().unwrap();
        assert_eq!(producer.signalled(), 0);
        producer.unmask().unwrap();
        assert_eq!(producer.signalled(), 1);
        producer.del_consumer();
        assert_eq!(ticker.wanted.load(Ordering::Relaxed), 2);
        assert_eq!(ticker.unwanted.load(Ordering::Relaxed), 2);
        producer.signal();
        assert_eq!(producer.signalled(), 1, "nobody asked for this one");
    }
}
